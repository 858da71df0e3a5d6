"""The whole pipeline under DVC, on a tiny model, in a clone, offline.

The tests share one clone and each leaves it as it was: run once, committed, up to date.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace

import psutil
import pytest
import yaml

from fdpo.config.study import PairParams, Train
from fdpo.core import records
from fdpo.core.records import Prompt
from fdpo.scoring.loading import load_scorer
from tests.support import clone as cloning
from tests.support import logbooks, stage_runs
from tests.support.clone import Clone
from tests.support.settings import set_knobs
from tests.support.stage_runs import STAGES, Workspace

pytestmark = pytest.mark.slow

HEADLINE = {"accuracy", "distinct_2", "entropy", "judge", "kl", "reward", "reward_win_rate"}
SECRETS = {name: f"{name.lower()}_" + 40 * "5" for name in ("HF_TOKEN", "WANDB_API_KEY")}


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Workspace:
    return stage_runs.finished_workspace(tmp_path_factory.mktemp("finished"))


@pytest.fixture(scope="module")
def clone(finished, tmp_path_factory) -> Clone:
    """The study of `finished` after a run with a logbook, committed."""
    made = cloning.working_copy(tmp_path_factory.mktemp("pipeline"))
    made = replace(made, environment=made.environment | finished.environment)
    for name in ("params.yaml", "studies/embedded.yaml"):
        (made.folder / name).write_bytes((finished.folder / name).read_bytes())
    made.git("init", "--quiet", "--initial-branch=main")
    made.git("add", "--all")
    made.git("commit", "--quiet", "--message=start")
    printed = made.dvc("exp", "run", "--name", "logged", **SECRETS, WANDB_MODE="offline")
    assert run_stages(printed) == list(STAGES)
    assert not [secret for secret in SECRETS.values() if secret in printed]
    made.git("add", "--all")
    made.git("commit", "--quiet", "--message=run")
    return made


def run_stages(printed: str) -> list[str]:
    return re.findall(r"Running stage '(\w+)'", printed)


def up_to_date(clone: Clone) -> bool:
    return "Data and pipelines are up to date" in clone.dvc("status")


def test_after_a_run_all_is_up_to_date_and_outputs_are_not_in_git(clone):
    assert up_to_date(clone)
    assert clone.git("status", "--porcelain") == ""
    tracked = clone.git("ls-files", "data", "models", ".ckpt").split()
    assert tracked == ["data/README.md", "models/README.md"]
    assert not list((clone.folder / ".ckpt").glob("*-????????????????"))  # no work is left
    metrics = json.loads(clone.bytes("results/metrics.json"))
    assert metrics.keys() == HEADLINE | {"reward_reference"}
    reward = json.loads(clone.bytes("results/evaluate/metrics.json"))["reward"]
    assert round(reward["value"], 4) == metrics["reward"]
    assert reward["low"] <= reward["value"] <= reward["high"]


def test_the_same_bytes_come_without_dvc_and_a_logbook(clone, finished):
    """By other processes, so in another order of Python's sets."""
    for top in ("data", "models", "results"):
        expected = stage_runs.digests(finished.folder / top)
        assert stage_runs.digests(clone.folder / top).items() >= expected.items()


def test_prompts_and_scorers_are_those_of_the_packages(finished):
    prompts = records.read(finished.folder / "data/prompts.jsonl", Prompt)
    assert [prompt.role for prompt in prompts] == ["train"] * 10 + ["heldout"] * 8
    reward, judge = (load_scorer(finished.folder / "models" / name) for name in ("reward", "judge"))
    assert reward.settings.heldout.spearman > 0.5
    assert judge.settings.heldout.spearman > 0.2  # on a random encoder
    assert judge.score(["lovely"])[0] > judge.score(["awful"])[0]


def test_no_token_of_the_environment_is_written(clone):
    written = [path for path in clone.folder.rglob("*") if path.is_file()]
    for secret in SECRETS.values():
        assert [path for path in written if secret.encode() in path.read_bytes()] == []


def test_the_logbook_has_the_results(clone):
    train, evaluate = logbooks.runs(clone.folder / "wandb")
    assert train.id == evaluate.id
    assert (train.name, train.group) == ("logged", clone.git("rev-parse", "HEAD~")[:7])
    study = yaml.safe_load(clone.bytes("studies/embedded.yaml"))
    lr = study["train"]["lr_by_loss"]["default"]
    study["generate"]["heldout"]["published"] = None
    study["train"] = Train(**study["train"]).model_dump()  # with what is left out
    study["pair"] = PairParams(**study["pair"]).model_dump()
    assert train.config == yaml.safe_load(clone.bytes("params.yaml")) | study | {"lr": lr}

    curves = clone.folder / "results/train/plots/metrics"
    files = {str(path.relative_to(curves).with_suffix("")): path for path in curves.rglob("*.tsv")}
    assert {name for name in train.curves if not name.startswith("_")} == files.keys()
    for name, path in files.items():
        rows = [line.split("\t") for line in path.read_text().splitlines()[1:]]
        assert train.curves[name] == [(int(step), pytest.approx(float(v))) for step, v in rows]

    metrics = json.loads(clone.bytes("results/metrics.json"))
    assert {name: evaluate.summary[name] for name in metrics} == metrics
    assert evaluate.summary["all"] == json.loads(clone.bytes("results/evaluate/metrics.json"))
    (table,) = evaluate.tables
    samples = map(json.loads, clone.bytes("results/evaluate/samples.jsonl").splitlines())
    assert table["data"] == [
        [row["id"], row["prompt"], model, sample["text"], sample["reward"], sample["judge"]]
        for row in samples
        for model in ("reference", "policy")
        for sample in row[model]
    ]


def process_at_work(clone: Clone, stage: str, command: subprocess.Popen) -> int:
    """The process of a stage, once it has a checkpoint."""
    while command.poll() is None:
        if any(clone.folder.glob(f".ckpt/{stage}-*/checkpoint-*")):
            for process in psutil.Process(command.pid).children(recursive=True):
                if process.cmdline()[-2:] == ["-m", f"stages.{stage}"]:
                    return process.pid
        time.sleep(0.005)
    raise AssertionError(f"{stage} ended before it could be seen: {command.communicate()}")


def test_a_refused_second_run_does_not_falsify_the_first_which_goes_on(clone):
    """The first is of another loss, and is the first to train with it alone."""
    train = ["exp", "run", "--name", "single", "-S", "loss=fkl", "-S", "beta=1", "train"]
    before = {path: clone.bytes(path) for path in ("dvc.lock", "params.yaml")}
    first = clone.start(*train)
    stage = process_at_work(clone, "train", first)
    os.kill(stage, signal.SIGSTOP)  # until the second has been refused
    second = clone.run(sys.executable, "-m", "dvc", "exp", "run", "-S", "beta=0.5")
    os.kill(stage, signal.SIGCONT)
    printed, _ = first.communicate()
    assert second.returncode != 0
    assert b"beta: 0.5" in clone.bytes("params.yaml")  # DVC writes it before it refuses
    assert first.returncode != 0
    (line,) = [line for line in printed.splitlines() if line.startswith("error:")]
    assert line.startswith("error: params.yaml: beta: was 1 when train began and is 0.5 now")
    recorded = yaml.safe_load(clone.bytes("dvc.lock"))["stages"]["train"]["params"]
    assert recorded["params.yaml"]["beta"] != 0.5

    assert "train: goes on after step" in clone.dvc(*train)
    objective = json.loads(clone.bytes("models/policy/objective.json"))
    assert (objective["loss"], objective["beta"]) == ("fkl", 1)
    summary = clone.run(sys.executable, "-m", "experiments.summary").stdout
    assert "These are not of params.yaml but of loss sigmoid, beta 0.1;" in summary
    clone.git("checkout", "params.yaml", "dvc.lock")
    clone.dvc("checkout")
    assert {path: clone.bytes(path) for path in before} == before

    set_knobs(clone.folder, lr=0.5)
    clone.dvc("exp", "save", "--name", "saved")
    clone.git("checkout", "params.yaml", "dvc.lock")  # which `exp save` writes too
    table = clone.run(sys.executable, "-m", "experiments.table")
    assert "single: left out, its results are of loss sigmoid, beta 0.1" in table.stderr
    assert "saved: left out, its results are of lr 0.00" in table.stderr
    assert not {"single", "saved"} & set(table.stdout.split())
    assert "main" in table.stdout
    clone.dvc("exp", "remove", "single", "saved")
    assert up_to_date(clone)


def test_a_wrong_setting_is_refused_before_anything_is_removed(clone):
    watched = ("models/policy/adapter_model.safetensors", "results/metrics.json", "dvc.lock")
    before = {path: clone.bytes(path) for path in watched}
    failed = clone.run(sys.executable, "-m", "dvc", "exp", "run", "-S", "beta=-1")
    assert failed.returncode != 0
    assert "error: params.yaml: beta = -1" in failed.stderr
    assert {path: clone.bytes(path) for path in watched} == before
    clone.git("restore", "params.yaml")
    assert run_stages(clone.dvc("repro")) == []
