"""Several processes do the work of one: real launchers on tiny models, on the CPU."""

import csv
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import LlamaForCausalLM

from fdpo.core import records
from fdpo.core.errors import UserError
from fdpo.core.randomness import stream
from fdpo.core.records import Prompt, ScoredGeneration
from fdpo.evaluation.policy import load_policy
from fdpo.models.causal_lm import load_causal_lm
from fdpo.models.micro_batches import shard_step, to_trl_columns
from fdpo.pairing import pairs_of
from fdpo.scoring import ridge
from fdpo.scoring.quality import RatedTexts
from stages import evaluate, generate, score, train
from tests.support import tiny
from tests.support.settings import ROOT, copy_settings, edited_study

pytestmark = pytest.mark.slow

TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
SHARED_CURVES = ("loss", "rewards/margins", "rewards/accuracies")
CURVES = [f"{split}/{name}" for split in ("train", "eval") for name in SHARED_CURVES]
CURVES += ["train/grad_norm"]


def launch(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=480,
    )


def study(folder: Path, **training: object) -> Path:
    """A folder with what `prepare` leaves: prompts and models."""
    (folder / "data").mkdir(parents=True)
    copy_settings(folder)
    with edited_study(folder) as own:
        own["generate"] |= {"max_length": 32, "prompts_per_batch": 2}
        own["generate"]["train"]["max_new_tokens"] = 6
        own["generate"]["heldout"]["max_new_tokens"] = 6
        own["evaluate"] |= {"prompts_per_batch": 2, "tokens_per_forward": 48}
        own["train"] |= {"epochs": 2, "pairs_per_step": 12, "eval_every": 5}
        own["train"] |= {"tokens_per_forward": 48, **training}  # several micro-batches per step
    config = tiny.llama(torch.float32).config  # which seeds what is drawn next
    config.tie_word_embeddings = True
    LlamaForCausalLM(config).save_pretrained(folder / "models/reference")
    tiny.tokenizer().save_pretrained(folder / "models/reference")
    texts = [" ".join(map(str, stream(0, "text", n).integers(1, 37, size=6))) for n in range(120)]
    for scorer, digit in (("reward", "3"), ("judge", "2")):
        rated = RatedTexts(texts, [float(text.count(digit)) for text in texts])
        ridge.fit(rated, rated, seed=1).save(folder / "models" / scorer)
    prompts = [
        Prompt(id=n, prompt=f"{n + 3} {n % 5 + 2}", role="heldout" if n % 3 == 2 else "train")
        for n in range(21)
    ]
    records.write(folder / "data/prompts.jsonl", prompts)
    return folder


def within(folder: Path, *stages: object) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for stage in stages:
            stage.main()


@pytest.fixture(scope="module")
def one(tmp_path_factory) -> Path:
    """A study that one process, this one, has run: 5 pairs are in the last of an epoch's steps."""
    folder = study(tmp_path_factory.mktemp("one") / "study")
    within(folder, generate, score)
    ranks = [(1, 4), (1, 5), (1, 6), (2, 6), (3, 6), (4, 6)]
    scored = records.read(folder / "data/scores.jsonl", ScoredGeneration)
    of_prompts = [pairs_of(one, ranks, keep_ties=True) for one in scored if one.role == "train"]
    pairs = [pair for own in of_prompts for pair in own if pair]
    records.write(folder / "data/train.jsonl", pairs[:53])
    records.write(folder / "data/test.jsonl", pairs[53:])
    within(folder, train, evaluate)
    return folder


@pytest.fixture(scope="module")
def two(one, tmp_path_factory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """The same by two processes, one of which is killed in a second generation.

    They evaluate the policy that one process trained, and then train their own.
    """
    folder = study(tmp_path_factory.mktemp("two") / "study")
    for name in ("data/scores.jsonl", "data/train.jsonl", "data/test.jsonl"):
        shutil.copy(one / name, folder / name)
    shutil.copytree(one / "models/policy", folder / "models/policy")
    stages = ("generate", "evaluate", "train", "killed")
    return folder, launch(folder, *TORCHRUN, "-m", "tests.run.several", *stages)


def curve(folder: Path, name: str) -> list[float]:
    path = folder / f"results/train/plots/metrics/{name}.tsv"
    with open(path, encoding="utf-8", newline="") as file:
        return [float(row[path.stem]) for row in csv.DictReader(file, delimiter="\t")]


def assert_same_training(two: Path, one: Path, weights: str) -> None:
    for name in CURVES:
        assert curve(two, name) == pytest.approx(curve(one, name), abs=1e-4), name
    assert len(curve(two, "train/loss")) == 10
    found, expected = (load_file(folder / "models/policy" / weights) for folder in (two, one))
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=0, atol=1e-3)


def test_generations_and_evaluations_have_the_same_bytes(one, two):
    folder, launched = two
    evaluated = [path.relative_to(one) for path in (one / "results/evaluate").iterdir()]
    assert len(evaluated) == 6
    for name in [*evaluated, "results/metrics.json", "data/generations.jsonl"]:
        assert (folder / name).read_bytes() == (one / name).read_bytes(), name
    assert launched.stdout.count("evaluate: ") == 1


def test_training_is_the_same(one, two):
    folder, launched = two
    assert_same_training(folder, one, "adapter_model.safetensors")
    assert launched.stdout.count("train: sigmoid, beta 0.1, 10 steps on 53 pairs") == 1
    for name in ("README.md", "objective.json", "adapter_config.json"):
        path = Path("models/policy", name)
        assert (folder / path).read_bytes() == (one / path).read_bytes()


def test_a_killed_process_ends_the_others_and_another_number_goes_on(one, two, tmp_path):
    folder, launched = two
    assert "Signal 9 (SIGKILL) received by PID" in launched.stderr
    (kept,) = folder.glob(".ckpt/generate-*/generations.jsonl")
    whole = (one / "data/generations.jsonl").read_bytes()
    kept_lines = kept.read_bytes().splitlines(keepends=True)
    assert kept_lines == whole.splitlines(keepends=True)[:8]  # two rounds of two
    again = shutil.copytree(folder, tmp_path / "again")
    within(again, generate)
    assert (again / "data/generations.jsonl").read_bytes() == whole


@pytest.mark.nightly
def test_a_sharded_model_is_trained_whole(one, tmp_path):
    """All parameters, over two processes by FSDP and in one."""
    folders = [study(tmp_path / name, lora=None) for name in ("sharded", "whole")]
    for folder in folders:
        for name in ("data/train.jsonl", "data/test.jsonl"):
            shutil.copy(one / name, folder / name)
    config = ["--config_file", str(ROOT / "launch/fsdp.yaml"), "--mixed_precision", "no"]
    launcher = ["-m", "accelerate.commands.launch", *config, "--num_processes", "2"]
    done = launch(folders[0], *launcher, "--main_process_port", "0", "-m", "tests.run.sharded")
    assert done.returncode == 0, done.stderr
    within(folders[1], train)
    assert_same_training(*folders, "model.safetensors")
    embeddings = "model.embed_tokens.weight"
    reference = load_causal_lm(folders[0] / "models/reference")
    before = reference.get_output_embeddings().weight.clone()
    policy = load_policy(reference, folders[0] / "models/policy").get_output_embeddings().weight
    trained = load_file(folders[0] / "models/policy/model.safetensors")
    assert torch.equal(policy, trained[embeddings])
    assert not torch.equal(policy, before)


@pytest.mark.parametrize("processes", [1, 2, 3, 5])
@pytest.mark.parametrize("pairs", [1, 2, 7, 12])
def test_the_shares_of_a_step_are_the_step(pairs, processes):
    """Each pair once, with weights whose mean over processes is that over pairs."""
    step = to_trl_columns([tiny.pair([3, 1], [4, 1, n + 2], [n + 3, 2]) for n in range(pairs)])
    step[0]["prompt_ids"] = [5] * 9  # a micro-batch of its own
    for n, row in enumerate(step):
        row["ref_chosen_logps"] = -1.0 - n  # names the pair
    shares = [shard_step(step, 10, process, processes) for process in range(processes)]
    assert len({len(own) for own in shares}) == 1
    batches = [batch for own in shares for batch in own if batch.weight > 0]
    named = [logp for batch in batches for logp in batch.ref_chosen_logps.tolist()]
    assert sorted(named) == sorted(row["ref_chosen_logps"] for row in step)
    for batch in batches:
        assert batch.weight.item() / processes == pytest.approx(len(batch.chosen) / pairs)


def test_a_step_that_does_not_divide_is_refused(one, monkeypatch):
    monkeypatch.setattr("fdpo.run.processes.count", lambda: 5)
    with pytest.raises(
        UserError, match=r"^train\.pairs_per_step = 12: must be a multiple of the 5 "
    ):
        within(one, train)
