"""The Hub's two studies against its stand-in, nothing patched, without DVC."""

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
from transformers import GPT2LMHeadModel

from fdpo.core import records
from fdpo.core.files import read_json
from fdpo.core.records import Generation, Pair, Prompt, ScoredGeneration
from fdpo.models.causal_lm import load_tokenizer
from fdpo.scoring.loading import load_scorer
from tests.support import hub_repos, stage_runs, tiny
from tests.support.hub_standin import Hub, serving
from tests.support.settings import ROOT, copy_settings, edited_study, set_knobs

pytestmark = pytest.mark.slow

MAX_LENGTH = 18  # of prompt and completion; a few prompts are as long


@pytest.fixture(scope="module")
def hub(tmp_path_factory) -> Iterator[Hub]:
    folder = tmp_path_factory.mktemp("hub")
    hub_repos.build_all(folder)
    with serving(folder) as hub:
        yield hub


@pytest.fixture(scope="module")
def imdb(hub, tmp_path_factory) -> Path:
    """A small `imdb` after its whole pipeline."""
    folder = tmp_path_factory.mktemp("imdb") / "workspace"
    folder.mkdir()
    copy_settings(folder)
    with edited_study(folder, "imdb") as study:
        study["prepare"] |= {"train_prompts": 10, "heldout_prompts": 4}
        study["generate"]["max_length"] = MAX_LENGTH
        study["generate"]["train"]["max_new_tokens"] = 12
        study["train"] |= {"epochs": 1, "log_every": 1}
    shrink(folder, "imdb")
    run_all(hub, folder, *stage_runs.STAGES[2:])
    return folder


def shrink(folder: Path, name: str) -> None:
    """Give a study numbers that suit models of 30 thousand weights, and choose it."""
    with edited_study(folder, name) as study:
        published = {"top_k": 5, "no_repeat_ngram": 2, "max_new_tokens": 12}
        study["generate"]["heldout"] = {"samples": 2, "max_new_tokens": 6, "published": published}
        study["evaluate"]["distinct_budget"] = 10
    set_knobs(folder, study=name)


def run_all(hub: Hub, folder: Path, *stages: str) -> None:
    """Run `check`, `prepare` and `stages`."""
    python(hub, folder, "-m", "stages.check")
    python(hub, folder, "-m", "stages.prepare")
    stage_runs.run_all(stages, folder)


def python(hub: Hub, folder: Path, *arguments: str) -> str:
    """What a process prints that comes to the stand-in; its clients read the address at import."""
    environment = os.environ | hub.environment(folder.parent / "home") | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def rows(path: Path, kind: type) -> list:
    return list(records.read(path, kind))


def test_completions_are_what_training_sees(imdb):
    tokenizer = load_tokenizer(imdb / "models/reference")
    model = GPT2LMHeadModel.from_pretrained(imdb / "models/reference")
    generations = rows(imdb / "data/generations.jsonl", Generation)
    prompts = rows(imdb / "data/prompts.jsonl", Prompt)
    fitting = [p.id for p in prompts if len(tokenizer(p.prompt).input_ids) < MAX_LENGTH]
    assert sorted(generation.id for generation in generations) == sorted(fitting)
    assert len(fitting) < len(prompts) == 14
    cut = 0
    for generation in generations:
        train = generation.role == "train"
        assert len(generation.completions) == (6 if train else 2)
        assert (generation.published is None) == train
        for completion in generation.completions:
            ids = completion.ids
            assert completion.text == tokenizer.decode(ids, skip_special_tokens=True)
            assert completion.finished == (ids[-1] == tokenizer.eos_token_id)
            expected = tiny.plain_logp(model, generation.prompt_ids, ids).item()
            assert completion.ref_logp == pytest.approx(expected, rel=1e-5)
            if train:
                assert len(generation.prompt_ids) + len(ids) <= MAX_LENGTH
                cut += len(ids) < 12 and not completion.finished
    assert cut > 0


def test_evaluation_has_that_projects_metrics_beside_the_papers(imdb):
    metrics = read_json(imdb / "results/evaluate/metrics.json")
    reward = load_scorer(imdb / "models/reward")
    scores = rows(imdb / "data/scores.jsonl", ScoredGeneration)
    texts = [g.prompt + g.published.text for g in scores if g.role == "heldout"]
    assert metrics["published_reward_reference"]["value"] == pytest.approx(
        np.mean(reward.score(texts)), rel=1e-5
    )
    counts = Counter(token for text in texts for token in reward.tokenizer(text).input_ids)
    shares = np.array(list(counts.values())) / counts.total()
    assert metrics["unigram_entropy_reference"]["value"] == pytest.approx(
        -(shares * np.log(shares)).sum()
    )
    assert metrics["published_reward"] != metrics["published_reward_reference"]


def test_an_adapter_of_the_hub_is_measured_as_the_pipeline_does(hub, imdb):
    published = hub.folder / "models/me/policy"
    published.mkdir(parents=True)
    for name in ("adapter_model.safetensors", "adapter_config.json"):
        (published / name).write_bytes((imdb / "models/policy" / name).read_bytes())
    before = stage_runs.digests(imdb)
    lines = python(hub, imdb, "-m", "experiments.evaluate_adapter", "me/policy").splitlines()
    assert lines[0] == "me/policy, as trained with sigmoid, beta 0.1"
    metrics = read_json(imdb / "results/evaluate/metrics.json")
    printed = {line.split()[0]: line.split()[1] for line in lines[1:]}
    assert printed == {name: f"{metric['value']:.4f}" for name, metric in metrics.items()}
    assert stage_runs.digests(imdb) == before


def test_published_pairs_are_kept_as_given(hub, imdb):
    shrink(imdb, "imdb-published")
    run_all(hub, imdb, "generate", "score", "pair", "split")
    tokenizer = load_tokenizer(imdb / "models/reference")
    prompts = {prompt.id: prompt for prompt in rows(imdb / "data/prompts.jsonl", Prompt)}
    assert sum(prompt.role == "heldout" for prompt in prompts.values()) == 12
    for split in ("train", "test"):
        table = hub.folder / f"datasets/therem/dpo_dataset/data/{split}-00000-of-00001.parquet"
        given = Counter(
            (row["prompt"], row["chosen"], row["rejected"])
            for row in pyarrow.parquet.read_table(table).to_pylist()
        )
        pairs = rows(imdb / f"data/{split}.jsonl", Pair)
        kept = Counter(
            (prompts[p.id].prompt, tokenizer.decode(p.chosen_ids), tokenizer.decode(p.rejected_ids))
            for p in pairs
        )
        assert kept == given
        assert any(pair.chosen_reward < pair.rejected_reward for pair in pairs)
