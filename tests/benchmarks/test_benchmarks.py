"""The benchmarks' arithmetic, workloads and rows, on sizes of seconds."""

import importlib
import itertools
import json
import operator
import sys
import time

import numpy as np
import pytest
import torch

from benchmarks import __main__ as entry
from benchmarks import (
    experiment,
    flops,
    gpu,
    gpu_equality,
    measure,
    train_sides,
    verdict,
    workload,
)
from benchmarks.flops import Sizes
from benchmarks.train_sides import as_text, with_reference
from experiments.report.compare import power
from fdpo.core import records
from fdpo.core.errors import UserError
from fdpo.core.records import Pair
from fdpo.models.causal_lm import load_causal_lm, load_tokenizer
from tests.support.tiny import llama, pair, plain_logp


def test_distinct_tokens_are_the_prompt_once_and_completions_but_for_their_last():
    pairs = [
        pair([1, 2, 3], [4, 5], [6]),
        pair([1, 2, 3], [4, 5], [7, 8, 9]),  # [4, 5] again
        pair([1, 2], [4, 5], [6]),  # another prompt
    ]
    # Prompt [1, 2, 3]: 3 + 1 + 0 + 2 tokens, 2 + 1 + 3 positions. Prompt [1, 2]: 2 + 1 + 0, 2 + 1.
    assert flops.distinct(pairs) == (9, 9)


def test_training_flops_by_hand():
    # 10 weights: 4·10·3 = 120; 2 of LoRA: 6·2·3 = 36; a head of 7: 4·7·5 = 140.
    assert flops.training_flops(3, 5, Sizes(weights=10, lora=2, head=7, largest=(5, 2))) == 296


def test_sizes_by_hand():
    # A layer of tests.support.tiny's Llama: q and o 16·16, k and v 16·8, three of 16·24.
    layer = 2 * 256 + 2 * 128 + 3 * 384
    found = flops.sizes(llama())
    assert (found.weights, found.lora, found.head) == (2 * layer, 0, 37 * 16)
    assert sorted(found.largest) == [16, 24]


def test_a_run_counts_processor_seconds_and_memory():
    busy = "import time; x = b'1' * 2**28\nwhile time.process_time() < 0.5: pass\nprint('[1]')"
    # From a process without torch: what starts a run counts to its memory.
    lean = f"""import json
from benchmarks.measure import run
found = run({[sys.executable, "-c", busy]})
print(json.dumps([found.cpu, found.peak_mib, found.report]))"""
    cpu, peak, report = measure.run([sys.executable, "-c", lean]).report
    assert 0.5 <= cpu < 2
    assert 256 <= peak < 320
    assert report == [1]
    with pytest.raises(UserError, match="ended with 3"):
        measure.run([sys.executable, "-c", "raise SystemExit(3)"])


def test_a_ratio_is_the_median_of_the_rounds_and_above_1_where_fdpo_is_cheaper():
    seconds = measure.compared("n", "s", [1.0, 2.0, 4.0], [2.0, 8.0, 4.0])
    assert seconds["rounds"] == [2.0, 4.0, 1.0]
    assert (seconds["fdpo"], seconds["other"], seconds["ratio"]) == (2.0, 4.0, 2.0)
    assert measure.compared("n", "pairs/s", [6.0], [2.0], rate=True)["ratio"] == 3.0


def test_rows_of_the_same_commit_stay_and_others_go(tmp_path, monkeypatch):
    path = tmp_path / "bench.json"
    monkeypatch.setattr(entry, "RESULTS", path)
    stale = {"benchmark": "gpu", "commit": "0", **measure.alone("stale", "s", [1.0])}
    path.write_text(json.dumps([stale]))
    for name, row in (("train", "old"), ("decoding", "kept"), ("train", "new")):
        entry.record(name, [measure.alone(row, "s", [1.0])])
    assert [row["name"] for row in json.loads(path.read_text())] == ["kept", "new"]


def test_a_clock_counts_inner_calls_to_their_own_part():
    clock = experiment.Clock()
    inner = clock.timed("inner", lambda: time.sleep(0.4))
    clock.timed("outer", lambda: (time.sleep(0.02), inner()))()
    assert clock.parts["inner"]["wall"] >= 0.4
    assert 0.02 <= clock.parts["outer"]["wall"] < 0.4
    assert clock.parts["inner"]["cpu"] < 0.3  # it slept


def test_what_no_stage_took_is_dvc_s():
    seconds = {"wall": 2.0, "cpu": 3.0}
    stages = [{"imports": seconds}, {"imports": seconds, "training": seconds}]
    parts = experiment.together({"wall": 10.0, "cpu": 11.0}, stages)
    assert parts["imports"] == {"wall": 4.0, "cpu": 6.0}
    assert parts["DVC"] == {"wall": 4.0, "cpu": 2.0}


def test_the_functions_that_are_timed_exist():
    for stage, parts in experiment.PARTS.items():
        importlib.import_module(stage)
        for place in itertools.chain(*parts.values()):
            module, path = place.split(":")
            assert callable(operator.attrgetter(path)(importlib.import_module(module)))


def test_shapes_share_what_they_say():
    """Two of a prompt's four completions are used."""
    pairs = list(workload.random_pairs(workload.SHAPES["long-one"], 3, 1000))
    assert flops.distinct(pairs) == (3 * (512 + 2 * 255), 3 * 2 * 256)
    assert all(p.chosen_reward > p.rejected_reward for p in pairs)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tiny model with its tokenizer, and 12 pairs."""
    folder = tmp_path_factory.mktemp("workload")
    workload.save(workload.MODELS["tiny-llama"], folder / "model")
    pairs = workload.random_pairs(workload.SHAPES["imdb-5th"], 2, 500)
    records.write(folder / "pairs.jsonl", pairs)
    return folder


def test_text_for_trl_is_tokenised_to_the_same_ids(folder):
    tokenizer = load_tokenizer(folder / "model")
    pairs = list(records.read(folder / "pairs.jsonl", Pair))
    for row, one in zip(as_text(tokenizer, pairs), pairs, strict=True):
        assert tokenizer(row["prompt"] + row["chosen"]).input_ids == one.prompt_ids + one.chosen_ids
        assert workload.retokenised(tokenizer, one) == one


def test_the_reference_pass_gives_each_pair_its_own_log_probabilities(folder):
    model = load_causal_lm(folder / "model")
    pairs = with_reference(model, list(records.read(folder / "pairs.jsonl", Pair)), tokens=100)
    model.set_attn_implementation("sdpa")
    for one in pairs:
        found = one.ref_chosen_logp, one.ref_rejected_logp
        plain = [plain_logp(model, one.prompt_ids, y) for y in (one.chosen_ids, one.rejected_ids)]
        torch.testing.assert_close(torch.tensor(found), torch.stack(plain).cpu(), rtol=1e-5, atol=0)


def test_both_sides_take_the_same_step(folder, monkeypatch, capsys):
    norms = []
    for side in ("fdpo", "trl"):
        monkeypatch.setattr(sys, "argv", ["train_sides", side, str(folder), "embedded"])
        train_sides.main()
        norms.append(json.loads(capsys.readouterr().out.splitlines()[-1])["grad_norm"])
    assert norms[1] == pytest.approx(norms[0], rel=1e-4)


def test_float32_results_are_compared_with_the_cpu_s(folder):
    pairs = list(records.read(folder / "pairs.jsonl", Pair))
    model = gpu_equality.with_lora(load_causal_lm(folder / "model"))
    logps, gradient = gpu_equality.results(model, pairs)
    other = (logps + 0.008, gradient * 1.01)
    apart = gpu_equality.compared((logps, gradient), other, tokens=8)
    assert apart == pytest.approx({"nats_per_token": 0.001, "gradient": 0.01}, rel=1e-3)
    gpu.require_within_bounds(dict.fromkeys(apart, 0.0))
    for name, value in {**apart, "gradient": float("nan")}.items():
        with pytest.raises(UserError):
            gpu.require_within_bounds({**dict.fromkeys(apart, 0.0), name: value})


def test_what_more_seeds_of_a_sweep_find_has_the_stated_power():
    rng = np.random.default_rng(3)
    shared = rng.normal(size=5)  # a seed's own level, which cancels in a pair
    scores = {
        name: {seed: float(shared[seed] + noise) for seed, noise in enumerate(rng.normal(size=5))}
        for name in "ab"
    } | {"too few": {0: 1.0}}
    spread = np.std([scores["a"][seed] - scores["b"][seed] for seed in range(5)], ddof=1)
    size, losses, measured = verdict.found_by(scores, 8, rng)
    assert (losses, measured) == (2, 5)
    assert power(size, spread, pairs=1, seeds=8) == pytest.approx(0.8, abs=0.03)
