"""Completions from elsewhere, through all stages on a tiny model."""

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
from tests.support import stage_runs, tiny, tiny_chat
from tests.support.data_shapes import write
from tests.support.settings import ROOT, copy_settings, edited_study, set_knobs

pytestmark = pytest.mark.slow

STUDY = "own-completions"
Row = dict[str, Any]


@pytest.fixture(scope="module")
def user_data(tmp_path_factory) -> Path:
    """The project's, with the tiny chat model and what the page's own lines sample from it."""
    folder = tmp_path_factory.mktemp("sampled")
    shutil.copytree(ROOT / "user_data", folder / "user_data")
    tiny_chat.chat_model(folder / "user_data/model")
    page = (ROOT / "docs/completions.md").read_text(encoding="utf-8")
    (script,) = re.findall(r"^```python\n(import [^`]*generate_batch[^`]*)^```", page, re.MULTILINE)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        exec(compile(script, "docs/completions.md", "exec"), {})  # noqa: S102 - our own page
    return folder / "user_data"


def rows_of(path: Path) -> list[Row]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def workspace_of(user_data: Path, folder: Path, rows: list[Row], **columns: str) -> Path:
    """A workspace whose study reads a file of rows."""
    workspace = folder / "workspace"
    shutil.copytree(user_data, workspace / "user_data")
    copy_settings(workspace)
    set_knobs(workspace, study=STUDY)
    write(workspace / "user_data/rows.jsonl", rows)
    with edited_study(workspace, STUDY) as study:
        study["prepare"]["completions"] = {"path": "user_data/rows.jsonl", "columns": columns}
    return workspace


def read(workspace: Path, name: str, kind: type) -> list[Any]:
    return list(records.read(workspace / f"data/{name}.jsonl", kind))


def run_and_check(workspace: Path) -> list[ScoredGeneration]:
    """The scored prompts to train on, after all stages; what holds for all files was compared."""
    stage_runs.run_all(stage_runs.STAGES, workspace)
    model = AutoModelForCausalLM.from_pretrained(workspace / "models/reference").eval()
    scored = read(workspace, "scores", ScoredGeneration)
    train = [generation for generation in scored if generation.role == "train"]
    for generation in train:
        for completion in generation.completions:
            with torch.inference_mode():
                plain = tiny.plain_logp(model, generation.prompt_ids, completion.ids)
            assert completion.ref_logp == pytest.approx(plain.item(), abs=1e-4)
    heldout = [generation for generation in scored if generation.role == "heldout"]
    assert len(heldout) == 6
    for generation in heldout:  # scored by length.py
        words = [len(completion.text.split()) for completion in generation.completions]
        rewards = [completion.reward for completion in generation.completions]
        assert rewards == [-float(max(8 - n, 0, n - 20)) for n in words]
    for pair in read(workspace, "pairs", Pair):
        assert pair.chosen_reward > pair.rejected_reward
    metrics = json.loads((workspace / "results/evaluate/metrics.json").read_text())
    assert metrics["kl"]["value"] != 0
    return train


def test_rated_answers_rank_by_their_ratings_and_ties_make_no_pair(user_data, tmp_path):
    rows = rows_of(user_data / "completions.jsonl")
    columns = {"completion": "completions", "score": "ratings"}
    workspace = workspace_of(user_data, tmp_path, rows, **columns)
    train = run_and_check(workspace)
    assert len(train) == len(rows) - 6
    tokenizer = AutoTokenizer.from_pretrained(workspace / "models/reference")
    pairs = [pair.id for pair in read(workspace, "pairs", Pair)]
    for generation in train:
        (row,) = [row for row in rows if row["prompt"][0]["content"] in generation.prompt]
        assert [completion.reward for completion in generation.completions] == row["ratings"]
        assert [completion.text for completion in generation.completions] == row["completions"]
        for completion in generation.completions:
            assert completion.finished
            assert tokenizer.decode(completion.ids[-1]) == "<|im_end|>"
        best = sorted(row["ratings"], reverse=True)
        assert pairs.count(generation.id) == (best[0] != best[3]) + (best[1] != best[2])
    assert any(row["ratings"] == [5, 5, 5, 5] for row in rows)


def test_sampled_ids_keep_their_tokens_and_are_scored_by_the_reward(user_data, tmp_path):
    rows = rows_of(user_data / "sampled.jsonl")
    workspace = workspace_of(user_data, tmp_path, rows, logprobs="logprobs")
    train = run_and_check(workspace)
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
