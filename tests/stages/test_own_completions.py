"""Completions from elsewhere, through all stages on a tiny model, in every shape."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from fdpo.core import records
from fdpo.core.records import Generation, Pair, ScoredGeneration
from tests.support import clone, stage_runs, tiny, tiny_chat
from tests.support.data_shapes import write
from tests.support.settings import copy_settings, edited_study, set_knobs

pytestmark = pytest.mark.slow

STUDY = "own-completions"
Row = dict[str, Any]
ROWS: list[Row] = [
    json.loads(line)
    for line in (clone.ROOT / "user_data/completions.jsonl").read_text().splitlines()
]


@pytest.fixture(scope="module")
def sampled(tmp_path_factory) -> tuple[Path, list[Row]]:
    """A folder with the tiny chat model, and what the page's own lines sample from it."""
    folder = tmp_path_factory.mktemp("sampled")
    shutil.copytree(clone.ROOT / "user_data", folder / "user_data")
    tiny_chat.chat_model(folder / "user_data/model")
    page = (clone.ROOT / "docs/completions.md").read_text(encoding="utf-8")
    (script,) = re.findall(r"^```python\n(import [^`]*generate_batch[^`]*)^```", page, re.MULTILINE)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        exec(compile(script, "docs/completions.md", "exec"), {})  # noqa: S102 - our own page
    lines = (folder / "user_data/sampled.jsonl").read_text().splitlines()
    return folder, [json.loads(line) for line in lines]


def run(
    sampled: tuple[Path, list[Row]],
    folder: Path,
    name: str,
    rows: list[Row],
    last: str = "evaluate",
    **columns: str,
) -> tuple[Path, str]:
    """The workspace after the stages up to `last` on a file of rows, and what a failed one said."""
    workspace = folder / "workspace"
    workspace.mkdir()
    copy_settings(workspace)
    set_knobs(workspace, study=STUDY)
    shutil.copytree(sampled[0] / "user_data", workspace / "user_data")
    write(workspace / "user_data" / name, rows)
    with edited_study(workspace, STUDY) as study:
        study["prepare"]["completions"] = {"path": f"user_data/{name}", "columns": columns}
        if not isinstance(rows[0]["prompt"], list):
            study["prepare"]["chat"] = "none"
    for stage in stage_runs.STAGES[: stage_runs.STAGES.index(last) + 1]:
        ended = stage_runs.run(stage, workspace)
        if ended.code:
            return workspace, f"{stage}, {ended.code}: {ended.stderr}"
    return workspace, ""


def read(workspace: Path, name: str, kind: type) -> list[Any]:
    return list(records.read(workspace / f"data/{name}.jsonl", kind))


def check(workspace: Path) -> list[ScoredGeneration]:
    """The scored prompts to train on, once everything that holds for all shapes was compared."""
    model = AutoModelForCausalLM.from_pretrained(workspace / "models/reference").eval()
    tokenizer = AutoTokenizer.from_pretrained(workspace / "models/reference")
    scored = read(workspace, "scores", ScoredGeneration)
    train = [generation for generation in scored if generation.role == "train"]
    for generation in train:
        for completion in generation.completions:
            with torch.inference_mode():
                plain = tiny.plain_logp(model, generation.prompt_ids, completion.ids)
            assert completion.ref_logp == pytest.approx(plain.item(), abs=1e-4)
    heldout = [generation for generation in scored if generation.role == "heldout"]
    assert len(heldout) == 6
    assert all(len(generation.completions) == 2 for generation in heldout)
    for generation in heldout:  # scored by length.py
        words = [len(completion.text.split()) for completion in generation.completions]
        rewards = [completion.reward for completion in generation.completions]
        assert rewards == [-float(max(8 - n, 0, n - 20)) for n in words]
    for pair in read(workspace, "pairs", Pair):
        assert pair.chosen_reward > pair.rejected_reward
    metrics = json.loads((workspace / "results/evaluate/metrics.json").read_text())
    assert metrics["kl"]["value"] != 0
    assert len(tokenizer) > max(id for g in train for c in g.completions for id in c.ids)
    return train


def by_question(train: list[ScoredGeneration]) -> dict[str, ScoredGeneration]:
    """Prompts by the question that they hold."""
    questions = {row["prompt"][0]["content"] for row in ROWS}
    return {
        next(q for q in questions if q in generation.prompt): generation for generation in train
    }


@pytest.mark.parametrize("shape", ["list", "long csv", "messages"])
def test_rated_answers_rank_by_their_ratings_and_ties_make_no_pair(sampled, tmp_path, shape):
    rows, name, columns = ROWS, "c.jsonl", {"completion": "completions", "score": "ratings"}
    if shape == "long csv":
        rows, name = [], "c.csv"
        columns = {"completion": "answer", "score": "stars"}
        for place in range(4):  # so that the rows of a prompt stand apart
            rows += [
                {
                    "prompt": row["prompt"][0]["content"],
                    "answer": row["completions"][place],
                    "stars": row["ratings"][place],
                }
                for row in ROWS
            ]
    elif shape == "messages":
        rows, name = [], "c.parquet"
        columns = {"score": "ratings"}
        for row in ROWS:
            answers = [[{"role": "assistant", "content": text}] for text in row["completions"]]
            rows.append({"prompt": row["prompt"], "completion": answers, "ratings": row["ratings"]})
    workspace, failed = run(sampled, tmp_path, name, rows, **columns)
    assert not failed
    train = check(workspace)
    assert len(train) == len(ROWS) - 6
    tokenizer = AutoTokenizer.from_pretrained(workspace / "models/reference")
    end = tokenizer.eos_token if shape == "long csv" else "<|im_end|>"
    pairs = {pair.id: 0 for pair in read(workspace, "pairs", Pair)}
    for pair in read(workspace, "pairs", Pair):
        pairs[pair.id] += 1
    given = {row["prompt"][0]["content"]: row for row in ROWS}
    for question, generation in by_question(train).items():
        row = given[question]
        assert [completion.reward for completion in generation.completions] == row["ratings"]
        assert [completion.text for completion in generation.completions] == row["completions"]
        for completion in generation.completions:
            assert completion.finished
            assert tokenizer.decode(completion.ids[-1]) == end
        best = sorted(row["ratings"], reverse=True)
        untied = (best[0] != best[3]) + (best[1] != best[2])
        assert pairs.get(generation.id, 0) == untied
    assert given["Who wrote Hamlet?"]["ratings"] == [5, 5, 5, 5]


def test_sampled_ids_keep_their_tokens_and_are_scored_by_the_reward(sampled, tmp_path):
    rows = sampled[1]
    workspace, failed = run(sampled, tmp_path, "s.jsonl", rows, logprobs="logprobs")
    assert not failed
    train = check(workspace)
    by_ids = {tuple(map(tuple, row["completion"])): row for row in rows}
    distances = []
    for generation in read(workspace, "generations", Generation):
        if generation.role == "train":
            row = by_ids[tuple(tuple(completion.ids) for completion in generation.completions)]
            sums = [completion.ref_logp for completion in generation.completions]
            assert sums == pytest.approx([sum(logps) for logps in row["logprobs"]], abs=1e-3)
            distances += generation.mismatch
    assert 0 < max(distances) < 1e-3
    ended = [completion.finished for generation in train for completion in generation.completions]
    assert set(ended) == {True, False}


def test_log_probabilities_of_another_model_are_refused_with_the_mismatch(sampled, tmp_path):
    other, rows = tmp_path / "other/user_data", sampled[1]
    shutil.copytree(sampled[0] / "user_data", other)
    model = AutoModelForCausalLM.from_pretrained(other / "model")
    with torch.no_grad():
        for weight in model.parameters():
            weight += 0.05 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(0))
    model.save_pretrained(other / "model")
    (tmp_path / "full").mkdir()
    workspace, failed = run(
        (other.parent, rows), tmp_path / "full", "s.jsonl", rows, logprobs="logprobs"
    )
    found = re.search(
        r"error: generate: the log-probabilities in prepare.completions are off the"
        r" reference's by (\S+) nats a token on average, (\S+) at the 99th percentile, beyond"
        r" generate.train.max_mismatch = 0.1; name the model, adapter and chat template",
        failed,
    )
    assert failed.startswith("generate, 2: ")
    assert 0.1 < float(found[1]) < float(found[2])
    assert not (workspace / "data/generations.jsonl").exists()


def test_log_probabilities_that_fit_no_tokens_are_refused(sampled, tmp_path):
    rows = [row | {"logprobs": [logps[1:] for logps in row["logprobs"]]} for row in sampled[1]]
    _, failed = run(sampled, tmp_path, "s.jsonl", rows, "generate", logprobs="logprobs")
    assert re.search(
        r"prompt \d+: 23 log-probabilities for a completion of 24 tokens; give", failed
    )
