"""The Hub's two studies, run by DVC in a clone against the stand-in, with nothing patched."""

import json
import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
import yaml
from transformers import GPT2LMHeadModel

from fdpo.core import records
from fdpo.core.records import Generation, Pair, Prompt, ScoredGeneration
from fdpo.models.causal_lm import load_tokenizer
from fdpo.scoring.loading import load_scorer
from tests.support import hub_repos, tiny
from tests.support.hub_standin import TOKEN, Hub, serving
from tests.support.hub_store import Repo
from tests.support.settings import edited_study

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
MAX_LENGTH = 18  # of prompt and completion; a few prompts are as long


@pytest.fixture(scope="module")
def hub(tmp_path_factory) -> Iterator[Hub]:
    folder = tmp_path_factory.mktemp("hub")
    hub_repos.build_all(folder)
    with serving(folder) as hub:
        yield hub


@pytest.fixture(scope="module")
def clone(hub, tmp_path_factory) -> Path:
    """The project as it stands, committed in a repository of its own, with small studies."""
    folder = tmp_path_factory.mktemp("clone")
    git = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(git, cwd=ROOT, capture_output=True, check=True).stdout
    for name in names.decode().split("\0"):
        if name and (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes((ROOT / name).read_bytes())
    (folder / "dvc.lock").unlink(missing_ok=True)
    shrink(folder)
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "start"]):
        run(hub, folder, "git", "-c", "user.name=t", "-c", "user.email=t@localhost", *command)
    return folder


def shrink(folder: Path) -> None:
    """Give both studies numbers that suit models of 30 thousand weights."""
    for name in ("imdb", "imdb-published"):
        with edited_study(folder, name) as study:
            study["generate"]["heldout"] = {
                "samples": 2,
                "max_new_tokens": 6,
                "published": {"top_k": 5, "no_repeat_ngram": 2, "max_new_tokens": 12},
            }
            study["generate"]["prompts_per_batch"] = 1
            study["train"] |= {"epochs": 1, "log_every": 1}
            study["evaluate"]["distinct_budget"] = 10
    with edited_study(folder, "imdb") as imdb:
        imdb["prepare"] |= {"train_prompts": 10, "heldout_prompts": 4}
        imdb["generate"]["max_length"] = MAX_LENGTH
        imdb["generate"]["train"]["max_new_tokens"] = 12


def run(hub: Hub, folder: Path, *command: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run a command in `folder` as somebody would who comes to the stand-in."""
    return subprocess.run(
        command,
        cwd=folder,
        env={**environment(hub, folder), **more},
        capture_output=True,
        text=True,
        check=False,
    )


def environment(hub: Hub, folder: Path) -> dict[str, str]:
    home = folder.parent / f"{folder.name}-home"
    return {
        **os.environ,
        **hub.environment(home),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "DVC_SITE_CACHE_DIR": str(home / "dvc"),
        "DVC_NO_ANALYTICS": "1",
        "OMP_NUM_THREADS": "1",
    }


def rows(path: Path, kind: type) -> list:
    return list(records.read(path, kind))


def reads(path: Path) -> dict:
    return json.loads(path.read_text())


@pytest.fixture(scope="module")
def imdb(hub, clone) -> Path:
    """The clone after its whole pipeline has run with `study=imdb`."""
    finished(run(hub, clone, "dvc", "exp", "run", "-S", "study=imdb"))
    return clone


def finished(process: subprocess.CompletedProcess[str]) -> subprocess.CompletedProcess[str]:
    assert process.returncode == 0, process.stdout + process.stderr
    return process


def test_what_was_fetched_is_pinned(hub, imdb):
    repos = {
        "data/source.json": "datasets/stanfordnlp/imdb",
        "models/reference/source.json": "models/lvwerra/gpt2-imdb",
        "models/reward/source.json": "models/lvwerra/distilbert-imdb",
        "models/judge/source.json": "models/siebert/sentiment-roberta-large-english",
    }
    for file, key in repos.items():
        source = reads(imdb / file)
        source = source.get("dataset", source)
        kind, name = key.split("/", 1)
        assert source["repo"] == name
        assert source["commit"] == Repo(hub.folder, kind, name).commit()
    lock = yaml.safe_load((imdb / "dvc.lock").read_text())["stages"]["prepare"]
    assert {out["path"] for out in lock["outs"]} >= {"data/source.json", "models/reference"}


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


def test_six_pairs_a_prompt_are_split_between_prompts(imdb):
    train, test = (rows(imdb / f"data/{split}.jsonl", Pair) for split in ("train", "test"))
    made = {(pair.id, pair.chosen_rank, pair.rejected_rank) for pair in train + test}
    six = [(1, 4), (1, 5), (1, 6), (2, 6), (3, 6), (4, 6)]
    for generation in rows(imdb / "data/scores.jsonl", ScoredGeneration):
        rewards = sorted((c.reward for c in generation.completions), reverse=True)
        for better, worse in six if generation.role == "train" else ():
            tied = rewards[better - 1] == rewards[worse - 1]
            assert ((generation.id, better, worse) in made) != tied
    paired = {pair.id for pair in train + test}
    drawn = [p.id for p in rows(imdb / "data/prompts.jsonl", Prompt) if p.id in paired]
    assert {pair.id for pair in train} == set(drawn[:-2])
    assert {pair.id for pair in test} == set(drawn[-2:])
    assert all(pair.chosen_reward > pair.rejected_reward for pair in train)
    objective = reads(imdb / "models/policy/objective.json")
    assert objective["lr"] == 1e-4


def test_evaluation_has_that_projects_measures_beside_the_papers(imdb):
    metrics = reads(imdb / "results/evaluate/metrics.json")
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
    assert metrics["unigram_entropy"] != metrics["unigram_entropy_reference"]
    assert {"reward", "judge", "kl", "entropy", "accuracy"} < metrics.keys()


def test_generate_goes_on_where_it_was_killed(hub, imdb):
    whole = (imdb / "data/generations.jsonl").read_bytes()
    for _ in range(3):  # it may have finished before the signal comes
        if done := kill_half_way(hub, imdb):
            break
    assert 0 < done < whole.count(b"\n")
    again = finished(run(hub, imdb, *GENERATE))
    before, total = re.search(
        r"^generate: goes on after (\d+) of (\d+) ", again.stderr, re.M
    ).groups()
    assert 0 < int(before) < int(total)
    assert (imdb / "data/generations.jsonl").read_bytes() == whole
    assert not [path for path in (imdb / ".ckpt").iterdir() if path.is_dir()]


GENERATE = ("python3", "-m", "stages.generate")


def kill_half_way(hub: Hub, folder: Path) -> int:
    """Start the stage and kill it after its first prompts; return how many it had written."""
    process = subprocess.Popen(
        GENERATE, cwd=folder, env=environment(hub, folder), stderr=subprocess.DEVNULL
    )
    written: list[Path] = []
    while process.poll() is None and not any(path.stat().st_size for path in written):
        written = list(folder.glob(".ckpt/generate-*/generations.jsonl"))
        time.sleep(0.001)
    process.kill()
    process.wait()
    return sum(path.read_bytes().count(b"\n") for path in written if path.exists())


def test_a_published_policy_is_evaluated_as_the_pipeline_did(hub, imdb):
    finished(run(hub, imdb, "python3", "-m", "experiments.publish", "me/policy", HF_TOKEN=TOKEN))
    published = hub.folder / "models/me/policy"
    config = reads(published / "adapter_config.json")
    assert config["base_model_name_or_path"] == "lvwerra/gpt2-imdb"
    (name,) = finished(run(hub, imdb, "dvc", "exp", "list", "--names-only")).stdout.split()
    assert f"| DVC experiment | {name} |" in (published / "README.md").read_text()

    before = finished(run(hub, imdb, "git", "status", "--porcelain")).stdout
    evaluate = ("python3", "-m", "experiments.evaluate_adapter", "me/policy")
    lines = finished(run(hub, imdb, *evaluate)).stdout.splitlines()
    assert lines[0] == "me/policy, as trained with sigmoid, beta 0.1"
    metrics = reads(imdb / "results/evaluate/metrics.json")
    printed = {line.split()[0]: line.split()[1] for line in lines[1:]}
    assert printed == {name: f"{metric['value']:.4f}" for name, metric in metrics.items()}
    assert finished(run(hub, imdb, "git", "status", "--porcelain")).stdout == before


def test_a_gated_model_ends_the_stage_in_one_line(hub, imdb):
    hub.faults["models/lvwerra/distilbert-imdb"] = {"gated": True}
    newcomer = str(imdb.parent / "newcomer")  # whose cache has none of its files
    failed = run(hub, imdb, "python3", "-m", "stages.prepare", HF_HOME=newcomer)
    hub.faults.clear()
    assert failed.returncode == 2
    (line,) = [line for line in failed.stderr.splitlines() if "rror" in line]
    assert line.startswith("error: model lvwerra/distilbert-imdb at revision main: ")
    assert "GatedRepoError" in line


def test_published_pairs_are_kept_as_given(hub, imdb):
    finished(run(hub, imdb, "dvc", "exp", "run", "-S", "study=imdb-published", "split"))
    tokenizer = load_tokenizer(imdb / "models/reference")
    model = GPT2LMHeadModel.from_pretrained(imdb / "models/reference")
    prompts = {prompt.id: prompt for prompt in rows(imdb / "data/prompts.jsonl", Prompt)}
    for split, count in (("train", 144), ("test", 36)):
        table = hub.folder / f"datasets/therem/dpo_dataset/data/{split}-00000-of-00001.parquet"
        given = Counter(
            (row["prompt"], row["chosen"], row["rejected"])
            for row in pyarrow.parquet.read_table(table).to_pylist()
        )
        pairs = rows(imdb / f"data/{split}.jsonl", Pair)
        assert len(pairs) == count
        kept = Counter(
            (prompts[p.id].prompt, tokenizer.decode(p.chosen_ids), tokenizer.decode(p.rejected_ids))
            for p in pairs
        )
        assert kept == given
        assert any(pair.chosen_reward < pair.rejected_reward for pair in pairs)
        for pair in pairs[:10]:
            assert pair.prompt_ids == tokenizer(prompts[pair.id].prompt).input_ids
            expected = tiny.plain_logp(model, pair.prompt_ids, pair.chosen_ids).item()
            assert pair.ref_chosen_logp == pytest.approx(expected, rel=1e-5)
    heldout = [prompt for prompt in prompts.values() if prompt.role == "heldout"]
    assert len(heldout) == 12
