"""The benchmarks' arithmetic, workloads and rows, on sizes of seconds."""

import contextlib
import datetime
import io
import json
import sys
import time
from pathlib import Path
from unittest import mock

import pytest
import torch

from benchmarks import __main__ as entry
from benchmarks import (
    experiment,
    flops,
    gemm,
    gpu,
    gpu_equality,
    gpu_sampling,
    grouping,
    measure,
    memory,
    scaling,
    shapes,
    small,
    train,
    train_ours,
    trl_peer,
    workload,
)
from benchmarks.flops import Sizes
from benchmarks.timed import PARTS, Clock
from benchmarks.train_ours import with_reference
from benchmarks.trl_peer import as_text
from benchmarks.workspace import stage, workspace
from fdpo.core import records
from fdpo.core.errors import UserError
from fdpo.core.records import Pair
from fdpo.models.causal_lm import load_causal_lm, load_tokenizer
from fdpo.run import resume
from stages import paths
from tests.support.tiny import llama, pair, plain_logp

pytestmark = pytest.mark.slow

KEYS = {"name", "ours", "peer", "ratio", "unit", "rounds"}


def run(output: str = "", cpu: float = 1.0, wall: float = 1.0, peak: float = 1.0) -> measure.Run:
    return measure.Run(cpu, wall, peak, output)


# Arithmetic


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
    model = llama()
    found = flops.sizes(model)
    assert (found.weights, found.lora, found.head) == (2 * layer, 0, 37 * 16)
    assert sorted(found.largest) == [16, 24]
    assert flops.sizes(with_lora(model)).lora == 2 * (2 * (16 + 16) + 2 * (16 + 8))


def with_lora(model):
    """The model with rank 2 on q and v: 16 → 16 and 16 → 8, in both layers."""
    from peft import LoraConfig, get_peft_model

    return get_peft_model(
        model, LoraConfig(r=2, target_modules=["q_proj", "v_proj"])
    ).base_model.model


def test_flops_are_those_that_torch_counts():
    """A step of a model without attention's own products, by PyTorch's counter."""
    from torch.utils.flop_counter import FlopCounterMode

    torch.manual_seed(0)
    frozen = torch.randn(6, 4)
    a, b = (torch.randn(*shape, requires_grad=True) for shape in ((4, 2), (2, 6)))
    hidden = torch.randn(5, 4, requires_grad=True)
    with FlopCounterMode(display=False) as counter:
        (hidden @ frozen.T + hidden @ a @ b).sum().backward()
    counted = flops.training_flops(5, 0, Sizes(24, 4 * 2 + 2 * 6, 0, (6, 4)))
    assert counter.get_total_flops() == counted


# Measuring


def test_a_run_counts_processor_seconds_and_memory():
    busy = "import time; x = b'1' * 2**28\nwhile time.process_time() < 0.5: pass\nprint('done')"
    # From a process without torch: what starts a run counts to its memory.
    lean = f"""import json
from benchmarks.measure import run
found = run({[sys.executable, "-c", busy]})
print(json.dumps([found.cpu, found.wall, found.peak_mib, found.output]))"""
    cpu, wall, peak, output = measure.run([sys.executable, "-c", lean]).report
    assert 0.5 <= cpu < 2
    assert wall >= 0.45
    assert 256 <= peak < 320
    assert output == "done\n"


def test_a_run_that_fails_is_said_in_one_line():
    with pytest.raises(UserError, match="ended with 3: why"):
        measure.run(
            [sys.executable, "-c", "import sys; print('why', file=sys.stderr); sys.exit(3)"]
        )
    with pytest.raises(UserError, match=r"/none: can't be run \(No such file or directory\)"):
        measure.run(["/none"])


def test_sides_run_in_turn():
    order = []
    sides = {name: lambda name=name: order.append(name) or run() for name in "AB"}
    runs = measure.alternate(3, sides)
    assert order == list("ABABAB")
    assert [len(runs[name]) for name in "AB"] == [3, 3]


def test_a_ratio_is_the_median_of_the_rounds_and_above_1_where_ours_costs_less():
    seconds = measure.compared("n", "s", ours=[1.0, 2.0, 4.0], peer=[2.0, 8.0, 4.0])
    assert seconds["rounds"] == [2.0, 4.0, 1.0]
    assert seconds["ratio"] == 2.0
    assert (seconds["ours"], seconds["peer"]) == (2.0, 4.0)
    rates = measure.compared("n", "pairs/s", ours=[6.0], peer=[2.0], rate=True)
    assert rates["ratio"] == 3.0
    assert set(seconds) == set(rates) == set(measure.alone("n", "s", [1.0])) == KEYS
    assert measure.shown(seconds) == "n: 2 beside 4 s, ratio 2.00 (1.00 to 4.00, 3 rounds)"


def test_a_clock_counts_inner_calls_to_their_own_part():
    clock = Clock()
    inner = clock.timed("inner", lambda: time.sleep(0.4))
    clock.timed("outer", lambda: (time.sleep(0.02), inner()))()
    assert clock.seconds["inner"] >= 0.4
    assert 0.02 <= clock.seconds["outer"] < 0.4  # the inner call's time is not in it


@pytest.mark.parametrize("name", PARTS)
def test_the_functions_that_are_timed_exist(name):
    clock = Clock()
    for place in {place for places in PARTS[name].values() for place in places}:
        module, path = place.split(":")
        owner = __import__(module, fromlist=["_"])
        for part in path.split("."):
            owner = getattr(owner, part)
        assert callable(clock.timed("part", owner))


# Workloads


def test_drawn_pairs_have_imdb_s_lengths_and_are_drawn_again_alike():
    pairs = list(workload.drawn_pairs(20, 1000, shortest=40))
    completions = {tuple(ids) for p in pairs for ids in (p.chosen_ids, p.rejected_ids)}
    lengths = sorted(map(len, completions))
    assert {len(p.prompt_ids) for p in pairs} == {24}
    assert len(completions) == 120
    assert 40 <= lengths[0] < 60
    assert 180 < lengths[-1] <= 232
    assert pairs == list(workload.drawn_pairs(20, 1000, shortest=40))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tiny model with its tokenizer, and 12 pairs."""
    folder = tmp_path_factory.mktemp("workload")
    workload.save(workload.tiny_llama(), folder / "model")
    records.write(folder / "pairs.jsonl", workload.drawn_pairs(2, 500, shortest=8))
    return folder


def test_text_for_the_peer_is_tokenised_to_our_ids(folder):
    tokenizer = load_tokenizer(folder / "model")
    pairs = list(records.read(folder / "pairs.jsonl", Pair))
    for row, one in zip(as_text(tokenizer, pairs), pairs, strict=True):
        assert tokenizer(row["prompt"]).input_ids == one.prompt_ids
        assert tokenizer(row["prompt"] + row["chosen"]).input_ids == one.prompt_ids + one.chosen_ids
        assert row["rejected"].endswith(tokenizer.eos_token)
        assert workload.again(tokenizer, one) == one


def test_the_reference_pass_gives_each_pair_its_own_log_probabilities(folder):
    model = load_causal_lm(folder / "model")
    pairs = with_reference(model, list(records.read(folder / "pairs.jsonl", Pair)), tokens=100)
    model.set_attn_implementation("sdpa")
    for one in pairs:
        found = one.ref_chosen_logp, one.ref_rejected_logp
        plain = [plain_logp(model, one.prompt_ids, y) for y in (one.chosen_ids, one.rejected_ids)]
        torch.testing.assert_close(torch.tensor(found), torch.stack(plain).cpu(), rtol=1e-5, atol=0)


@pytest.fixture(scope="module")
def reports(folder):
    """What each side prints after one step on all pairs, run in this process."""

    sides = {
        peer: printed(trl_peer.main, folder, "embedded", *options)
        for peer, options in train.PEERS.items()
    }
    return {"ours": printed(train_ours.main, folder, "embedded"), **sides}


def printed(main, *arguments: object) -> str:
    """What a program prints when it is called with these arguments."""
    output = io.StringIO()
    called = ["program", *map(str, arguments)]
    with mock.patch.object(sys, "argv", called), contextlib.redirect_stdout(output):
        main()
    return output.getvalue()


def test_both_sides_take_the_same_step(reports):
    found = {side: run(output).report for side, output in reports.items()}
    norm = found["ours"]["grad_norm"]
    assert norm > 0
    for side in (train.TRL, train.PRECOMPUTED, train.CHECKPOINTED):
        assert found[side]["grad_norm"] == pytest.approx(norm, rel=1e-4)
        assert found[side]["steps"] == found["ours"]["steps"] == 1
    assert found[train.TRL]["reference"] == {"cpu": 0, "wall": 0}
    assert found[train.PRECOMPUTED]["reference"]["cpu"] > 0


def test_every_row_of_training_is_filled(reports):
    sides = {side: [run(output)] for side, output in reports.items()}
    rows = train.of_ours("t", sides["ours"], [run('{"gflops": 100}')])
    for peer in (train.TRL, train.PRECOMPUTED, train.CHECKPOINTED):
        rows += train.beside(peer, sides["ours"], sides[peer])
    assert all(set(row) == KEYS for row in rows)
    assert all(0 < row["ours"] < float("inf") for row in rows)
    assert len({(row["name"], row["unit"]) for row in rows}) == len(rows)


def test_a_matrix_product_s_rate_is_that_of_the_clock(monkeypatch):
    ticks = iter([0.0, 0.1, 1.0, 3.0, 9.9])  # end at 1.0; in the loop at 0.1; 2 s a product
    monkeypatch.setattr(gemm.time, "perf_counter", lambda: next(ticks))
    assert gemm.gflops(10, 20, 30) == pytest.approx(2 * 10 * 20 * 30 / 2 / 1e9)


# Other lengths


def test_long_prompts_are_shared_by_all_pairs_of_four_completions():
    pairs = list(workload.shaped_pairs("long-six", 2, 1000))
    assert [len(pairs), len({p.id for p in pairs})] == [12, 2]
    for prompt in (0, 1):
        own = [p for p in pairs if p.id == prompt]
        completions = {tuple(ids) for p in own for ids in (p.chosen_ids, p.rejected_ids)}
        assert len({tuple(p.prompt_ids) for p in own}) == 1
        assert len(completions) == 4
        assert all(len(ids) == 256 and ids[-1] == 999 for ids in completions)
        assert all(p.chosen_reward > p.rejected_reward for p in own)
    # A prompt of 512 and four completions but for their last tokens, twice.
    assert flops.distinct(pairs) == (2 * (512 + 4 * 255), 2 * 4 * 256)


def test_with_one_pair_of_a_long_prompt_two_of_its_completions_are_used():
    pairs = list(workload.shaped_pairs("long-one", 3, 1000))
    assert flops.distinct(pairs) == (3 * (512 + 2 * 255), 3 * 2 * 256)


def test_pairs_that_share_nothing_have_no_prompt_and_no_completion_in_common():
    pairs = list(workload.shaped_pairs("unshared", 20, 1000))
    texts = [tuple(ids) for p in pairs for ids in (p.prompt_ids, p.chosen_ids, p.rejected_ids)]
    assert len(pairs) == 20
    assert len(set(texts)) == 60
    assert {len(ids) for ids in texts} == {128}


@pytest.mark.parametrize("shape", ["long-six-tiny", "unshared-tiny"])
def test_both_sides_take_the_same_step_on_other_lengths(shape, tmp_path):
    workload.save(workload.tiny_llama(), tmp_path / "model")
    records.write(tmp_path / "pairs.jsonl", workload.shaped_pairs(shape, 2, 500))
    ours, peer = (
        run(printed(main, tmp_path, "embedded", *tokens)).report
        for main, tokens in ((train_ours.main, ["64"]), (trl_peer.main, []))
    )
    assert ours["steps"] == peer["steps"] == 1
    assert peer["grad_norm"] == pytest.approx(ours["grad_norm"], rel=1e-4)
    assert ours["gemm"][0] == 64


@pytest.mark.parametrize("size", ["CASES", "QUICK", "SMALL"])
def test_every_case_names_a_model_and_a_shape_that_there_are(size):
    for cases in getattr(train, size).values():
        for case in cases:
            if case.shape != train.RECORDED:
                assert case.model in workload.MODELS
                next(workload.shaped_pairs(case.shape, 1, 500))


# Memory


def test_what_a_step_keeps_is_computed_without_a_model_s_contents():
    """On a CPU attention's kernel keeps a little more than on the device without contents."""
    from peft import LoraConfig, get_peft_model

    from fdpo.models.causal_lm import turn_off_randomness, use_branch_attention

    model, branches = workload.tiny_llama(), memory.step(2, 5, 3, 7)
    computed = memory.training(model.config, branches, torch.bfloat16)
    weights = sum(p.numel() for p in model.parameters())
    use_branch_attention(model)
    get_peft_model(model, LoraConfig(r=memory.RANK, target_modules=["q_proj", "v_proj"]))
    turn_off_randomness(model)
    adapter = 2 * 2 * memory.RANK * (32 + 32)  # two layers, two matrices of 32 × 32 each
    assert computed.weights == 2 * weights
    assert computed.adapter == 16 * adapter
    kept = memory.kept_for_backward(model, branches)
    assert 0.85 * kept <= computed.activations <= kept
    assert computed.total > computed.weights + computed.activations


def test_memory_grows_with_the_tokens_of_a_step():
    config = workload.tiny_gpt2().config
    small, large = (
        memory.training(config, memory.step(prompts, 5, 3, 7), torch.float32) for prompts in (1, 4)
    )
    assert large.activations == pytest.approx(4 * small.activations, rel=0.02)
    assert large.weights == small.weights


# A GPU, tried on the CPU


def test_without_a_gpu_nothing_is_measured_and_it_is_said(monkeypatch, capsys):
    monkeypatch.setattr(gpu, "gpu_name", lambda: None)
    assert gpu.rows(rounds=1) == []
    assert capsys.readouterr().err.count("\n") == 1


def test_float32_results_are_compared_with_the_cpu_s(folder):
    pairs = list(records.read(folder / "pairs.jsonl", Pair))
    found = [
        gpu_equality.results(gpu_equality.with_lora(load_causal_lm(folder / "model")), pairs)
        for _ in range(2)
    ]
    apart = gpu_equality.compared(*found, tokens=8)
    assert apart == {"nats_per_token": 0, "gradient": 0}
    gpu.require_within_bounds(apart)
    logps, gradient = found[0]
    apart = gpu_equality.compared(found[0], (logps + 0.008, gradient * 1.01), tokens=8)
    assert apart["nats_per_token"] == pytest.approx(0.001, rel=1e-3)
    assert apart["gradient"] == pytest.approx(0.01, rel=1e-6)


@pytest.mark.parametrize("apart", [{"nats_per_token": 0.001}, {"gradient": float("nan")}])
def test_a_gpu_that_computes_something_else_is_refused(apart):
    with pytest.raises(UserError, match="differs from the CPU's"):
        gpu.require_within_bounds({"nats_per_token": 0.0, "gradient": 0.0} | apart)


def test_both_sides_sample_as_many_tokens(folder):
    prompts = [[1, 2, 3], [4, 5]]
    for side in (gpu_sampling.ours, gpu_sampling.peer):
        assert side(folder / "model")(prompts, 3, 4) == 2 * 3 * 4


def test_the_stages_run_in_the_imdb_study_s_shape():
    rows = gpu.study(small=True)
    whole = [row["name"] for row in rows if row["name"].count(":") == 0]
    assert whole == [f"imdb's shape, {stage}" for stage in gpu.STAGES]
    assert all(row["ours"] >= 0 for row in rows)


# Stages


def test_pair_and_split_of_synthetic_scores():
    rows = scaling.pair_and_split(rounds=1, prompts=20)
    assert all(set(row) == KEYS and row["ours"] > 0 for row in rows)
    assert rows[-1]["ours"] == pytest.approx(rows[0]["ours"] + rows[2]["ours"])


def test_growth_is_the_largest_s_cost_over_the_smallest_s():
    costs = [
        run(json.dumps({"loop": {"cpu": cpu}}), peak=peak) for cpu, peak in ((2, 10), (30, 11))
    ]
    time_row, memory_row = scaling.growth(costs[:1], costs[1:])
    assert (time_row["ours"], memory_row["ours"]) == (15, 1.1)


def test_stages_run_in_a_workspace_and_leave_the_pipeline_as_it_was(tmp_path, monkeypatch):
    small.write(tmp_path)
    small.run_to_split(tmp_path)
    before = {path: path.read_bytes() for path in (tmp_path / "data").iterdir()}
    with workspace(tmp_path, {"studies.embedded.pair.ranks": [[1, 2]]}) as folder:
        stage(folder, "pair")
        pairs = list(records.read(folder / "data/pairs.jsonl", Pair))
        monkeypatch.chdir(folder)
        with resume.folder("train") as work, resume.folder("evaluate"):
            assert work.resolve().is_relative_to(folder.resolve())
        monkeypatch.undo()
    assert {(one.chosen_rank, one.rejected_rank) for one in pairs} == {(1, 2)}
    assert {path: path.read_bytes() for path in (tmp_path / "data").iterdir()} == before


def test_an_experiment_s_parts_add_up_to_its_wall_time():
    stages = [
        {"imports": 2.0, "training": 10.0, "saving": 0.5},
        {"imports": 3.0, "sampling": 20.0, "divergence": 4.0, "metrics": 1.0},
    ]
    split = experiment.split(44.0, stages)
    assert split["DVC"] == 3.5
    assert split["evaluation"] == 5.0
    assert split["neither training nor sampling"] == 14.0


def test_a_difference_over_seeds_has_student_s_interval():
    """Of −1, 0 and 4: mean 1, standard deviation √7; t at 0.975 with 2 degrees is 4.302653."""
    sides = [(0.0, 1.0), (2.0, 2.0), (6.0, 2.0)]
    by_seed = [
        grouping.of_seed("seed", "reward", *({"value": v, "low": v, "high": v} for v in side))
        for side in sides
    ]
    *seeds, row = grouping.with_mean("reward", "nats", by_seed)
    width = 4.302653 * (7 / 3) ** 0.5
    assert seeds == by_seed
    assert row["difference_interval"] == pytest.approx([1 - width, 1 + width], rel=1e-6)
    assert measure.shown(row) == (
        "reward, mean of 3 seeds: 2.667 beside 1.667 nats, apart by 1.000 [-5.572, 7.572]"
    )


def curve(*points: tuple[float, float]) -> dict[float, list]:
    """Results of the same (KL, reward) in every seed, a learning rate each."""
    return {
        number: [
            (run(), {"kl": {"value": kl}, "reward_difference": {"value": reward}})
            for _ in grouping.SEEDS
        ]
        for number, (kl, reward) in enumerate(points)
    }


def test_rewards_at_equal_kl_are_compared_where_both_curves_are():
    """Over KL 2 to 4: 2.5 to 3.5 on the one line, 2 to 3 on the other, so 0.5 apart."""
    *seeds, mean = grouping.at_equal_kl(curve((1, 2), (5, 4)), curve((4, 3), (2, 2)))
    assert seeds[0]["name"] == "reward_difference at KL 2.0 to 4.0, seed 1"
    assert [(row["ours"], row["peer"]) for row in (*seeds, mean)] == [(3.0, 2.5)] * 4
    assert mean["difference_interval"] == [0.5, 0.5]


def test_curves_without_a_common_kl_are_not_compared():
    assert grouping.at_equal_kl(curve((1, 1), (2, 2)), curve((3, 1), (4, 2))) == []


def shape_points(monkeypatch, strong: float, weak: float) -> dict[str, float]:
    """What a shape gives whose KL is `strong` at the smaller β and `weak` at the larger one."""
    metrics = {
        0.1: {"kl": strong, "reward_difference": 0.9, "judge_difference": 0.2, "accuracy": 0.5},
        0.5: {"kl": weak, "reward_difference": 0.3, "judge_difference": 0.1, "accuracy": 0.5},
    }
    monkeypatch.setattr(
        shapes,
        "train_and_evaluate",
        lambda _folder, _shape, _seed, beta: (
            200.0,
            {name: {"value": value} for name, value in metrics[beta].items()},
        ),
    )
    return {name: value for name, _, value in shapes.of_seed(Path(), shapes.SHAPES[0], seed=1)}


def test_shapes_are_compared_by_reward_over_the_root_of_kl(monkeypatch):
    """0.9 over a root of 2 and 0.3 over one of 1.2, each at 200 CPU seconds."""
    points = shape_points(monkeypatch, strong=4.0, weak=1.44)
    assert points["reward_difference over √KL"] == pytest.approx((0.45 + 0.25) / 2)
    assert points["the same per 100 CPU s"] == pytest.approx(0.175)


def test_shapes_are_compared_at_one_kl(monkeypatch):
    """KL 2.5 is a quarter of the way from 2 to 4, so the reward is 0.3 + 0.6 / 4."""
    points = shape_points(monkeypatch, strong=4.0, weak=2.0)
    assert points["reward_difference at KL 2.5"] == pytest.approx(0.45)


def test_a_shape_that_does_not_reach_the_kl_is_not_compared(monkeypatch):
    assert not any("KL 2.5" in name for name in shape_points(monkeypatch, strong=2.0, weak=1.0))


def test_a_smaller_shape_has_the_first_training_prompts_and_all_held_out_ones(tmp_path):
    rows = [
        {"id": number, "role": role}
        for number, role in enumerate(["train", "heldout", "train", "train", "heldout"])
    ]
    (tmp_path / "all").mkdir()
    (tmp_path / "data").mkdir()
    for path in (paths.PROMPTS, paths.GENERATIONS, paths.SCORES):
        everything = tmp_path / "all" / path.name
        everything.write_text("".join(json.dumps(row) + "\n" for row in rows))
        (tmp_path / path).symlink_to(everything)
    shapes.keep_prompts(tmp_path, 2)
    for path in (paths.PROMPTS, paths.GENERATIONS, paths.SCORES):
        kept = [json.loads(line)["id"] for line in (tmp_path / path).open()]
        assert kept == [0, 1, 2, 4]
        assert len((tmp_path / "all" / path.name).read_text().splitlines()) == len(rows)


# The file


def test_the_quick_form_is_of_benchmarks_with_peers(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["benchmarks", "--quick", "lengths"])
    options = entry.parsed()
    assert (options.quick, options.rounds, options.names) == (True, 2, ["lengths"])
    monkeypatch.setattr(sys, "argv", ["benchmarks", "--quick", "scaling"])
    with pytest.raises(SystemExit):
        entry.parsed()
    assert "scaling: has no quick form; choose from train" in capsys.readouterr().err


def test_every_committed_row_says_when_and_where_it_was_measured():
    for row in json.loads(entry.RESULTS.read_text(encoding="utf-8")):
        assert datetime.date.fromisoformat(row["date"])
        assert row["machine"]


def test_a_benchmark_s_rows_replace_its_former_ones_alone(tmp_path, monkeypatch):
    path = tmp_path / "bench.json"
    monkeypatch.setattr(entry, "machine", lambda: "a machine")
    when = {"machine": "a machine", "date": datetime.date.today().isoformat()}
    entry.merge(path, "train", [measure.alone("old", "s", [1.0])])
    entry.merge(path, "scaling", [measure.alone("kept", "s", [2.0])])
    entry.merge(path, "train", [measure.alone("new", "s", [3.0, 5.0, 4.0])])
    assert json.loads(path.read_text()) == [
        {
            **when,
            "name": "scaling: kept",
            "ours": 2.0,
            "peer": None,
            "ratio": None,
            "unit": "s",
            "rounds": [2.0],
        },
        {
            **when,
            "name": "train: new",
            "ours": 4.0,
            "peer": None,
            "ratio": None,
            "unit": "s",
            "rounds": [3.0, 5.0, 4.0],
        },
    ]
