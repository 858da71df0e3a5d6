"""The whole pipeline under DVC, on a tiny model, in a clone, offline.

The tests share one clone and each leaves it as it was: run once, committed, up to date.
"""

import json
import math
import os
import re
import signal
import subprocess
import sys
import time

import psutil
import pytest
import yaml

from fdpo.config.study import PairParams, Train
from tests.support import clone as cloning
from tests.support import logbooks
from tests.support.clone import Clone
from tests.support.settings import set_knobs

pytestmark = pytest.mark.slow

STAGES = ["check", "prepare", "generate", "score", "pair", "split", "train", "evaluate"]
KEPT = {"generate": "generations.jsonl", "train": "checkpoint-*"}  # of unfinished work
METRICS_PAGE = (cloning.ROOT / "docs/metrics.md").read_text(encoding="utf-8")
HEADLINE = [
    "accuracy",
    "distinct_2",
    "entropy",
    "judge",
    "kl",
    "reward",
    "reward_reference",
    "reward_win_rate",
]


@pytest.fixture(scope="module")
def clone(tmp_path_factory) -> Clone:
    made = cloning.make(tmp_path_factory.mktemp("pipeline"))
    assert run_stages(made.dvc("repro", PYTHONHASHSEED="0")) == STAGES
    made.git("add", "--all")
    made.git("commit", "--quiet", "--message=run")
    return made


def run_stages(printed: str) -> list[str]:
    return re.findall(r"Running stage '(\w+)'", printed)


def up_to_date(clone: Clone) -> bool:
    return "Data and pipelines are up to date" in clone.dvc("status")


def test_after_a_run_all_is_up_to_date_and_outputs_are_not_in_git(clone):
    assert up_to_date(clone)
    assert run_stages(clone.dvc("repro")) == []
    assert clone.git("status", "--porcelain") == ""
    tracked = clone.git("ls-files", "data", "models", ".ckpt").split()
    assert tracked == ["data/README.md", "models/README.md"]
    assert not list((clone.folder / ".ckpt").glob("*-????????????????"))  # no work is left


def test_metrics_are_eight_flat_finite_numbers(clone):
    metrics = json.loads(clone.bytes("results/metrics.json"))
    assert sorted(metrics) == HEADLINE
    assert all(type(value) is float and math.isfinite(value) for value in metrics.values())
    whole = json.loads(clone.bytes("results/evaluate/metrics.json"))
    assert round(whole["reward"]["value"], 4) == metrics["reward"]
    assert whole["reward"]["low"] <= whole["reward"]["value"] <= whole["reward"]["high"]


def test_metrics_and_plots_are_shown_offline(clone, tmp_path):
    shown = clone.dvc("metrics", "show", "--json")
    (metrics,) = [json.loads(line) for line in shown.splitlines() if line.startswith("{")]
    assert sorted(metrics[""]["data"]["results/metrics.json"]["data"]) == HEADLINE

    printed = clone.dvc("plots", "show", "--out", str(tmp_path))
    assert "error" not in printed.lower()
    assert "failed" not in printed.lower()
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    for place in ("training_loss", "training_margin", "calibration", "rewards", "prompts"):
        assert f'<div id = "{place}">' in page


def test_a_forced_run_gives_the_same_bytes(clone):
    lock = clone.bytes("dvc.lock")
    # Python's sets come in another order, as they may on any day.
    printed = clone.dvc("repro", "--force", PYTHONHASHSEED="3")
    assert run_stages(printed) == STAGES
    assert "\r" not in printed  # which bars draw themselves with: a log has lines
    assert clone.bytes("dvc.lock") == lock
    assert clone.git("status", "--porcelain") == ""


def test_another_loss_trains_and_evaluates_alone_and_the_way_back_runs_nothing(clone):
    before = {path: clone.bytes(path) for path in ("results/metrics.json", "params.yaml")}
    printed = clone.dvc("exp", "run", "-S", "loss=fkl", "-S", "beta=1", "-S", "lr=1e-5")
    assert run_stages(printed) == ["check", "train", "evaluate"]
    shown = clone.dvc("exp", "show", "--only-changed", "--csv")  # as docs/troubleshooting.md says
    columns = next(line for line in shown.splitlines() if line.startswith("Experiment,")).split(",")
    assert {"loss", "beta", "lr", "reward", "kl"} <= set(columns)
    assert len(columns) < 60
    objective = json.loads(clone.bytes("models/policy/objective.json"))
    assert (objective["loss"], objective["beta"], objective["lr"]) == ("fkl", 1, 1e-5)
    assert clone.bytes("results/metrics.json") != before["results/metrics.json"]

    back = clone.dvc("exp", "run", "-S", "loss=sigmoid", "-S", "beta=0.1", "-S", "lr=auto")
    assert run_stages(back) == []
    assert len(re.findall(r"Stage '(?:train|evaluate)' is cached - skipping run", back)) == 2
    objective = json.loads(clone.bytes("models/policy/objective.json"))
    assert (objective["loss"], objective["beta"]) == ("sigmoid", 0.1)
    assert {path: clone.bytes(path) for path in before} == before
    assert up_to_date(clone)


def test_a_row_whose_results_are_of_other_params_is_left_out(clone):
    clone.dvc("exp", "run", "--name", "single", "-S", "loss=fkl", "-S", "beta=1", "train")
    summary = clone.run(sys.executable, "-m", "experiments.summary").stdout
    assert "These are not of params.yaml but of loss sigmoid, beta 0.1;" in summary
    clone.git("checkout", "params.yaml", "dvc.lock")
    clone.dvc("checkout")
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


def test_a_logbook_tells_what_the_results_tell_and_changes_nothing(clone):
    target = ("--force", "--single-item", "train", "evaluate")
    clone.dvc("exp", "run", "--temp", "--name", "logged", *target, WANDB_MODE="offline")
    (commit,) = clone.git("for-each-ref", "--format=%(objectname)", "refs/exps/**/logged").split()
    clone.git("diff", "--exit-code", "HEAD", commit)
    assert clone.git("status", "--porcelain") == ""

    train, evaluate = logbooks.runs(clone.folder / "wandb")
    assert train.id == evaluate.id
    for run in (train, evaluate):
        assert (run.name, run.group) == ("logged", clone.git("rev-parse", "HEAD")[:7])
        assert run.exit_code == 0
        chosen = yaml.safe_load(clone.bytes("params.yaml"))
        study = yaml.safe_load(clone.bytes("studies/embedded.yaml"))
        lr = study["train"]["lr_by_loss"]["default"]
        study["generate"]["heldout"]["published"] = None
        study["train"] = Train(**study["train"]).model_dump()  # with what is left out
        study["pair"] = PairParams(**study["pair"]).model_dump()
        assert run.config == chosen | study | {"lr": lr}

    curves = clone.folder / "results/train/plots/metrics"
    names = [str(path.relative_to(curves).with_suffix("")) for path in curves.rglob("*.tsv")]
    table = re.findall(r"^\| `[\w/]+` \| `(.+)\.tsv` \| `(.+?)` \|", METRICS_PAGE, re.MULTILINE)
    assert {file for file, _ in table} >= set(names)  # as docs/metrics.md says
    assert {name for name in train.curves if not name.startswith("_")} == set(names)
    for name in names:
        rows = [line.split("\t") for line in (curves / f"{name}.tsv").read_text().split("\n")[1:-1]]
        assert train.curves[name] == [(int(step), pytest.approx(float(v))) for step, v in rows]

    metrics = json.loads(clone.bytes("results/metrics.json"))
    assert {name: evaluate.summary[name] for name in metrics} == metrics
    assert evaluate.summary["all"] == json.loads(clone.bytes("results/evaluate/metrics.json"))
    (table,) = evaluate.tables
    samples = [
        json.loads(row) for row in clone.bytes("results/evaluate/samples.jsonl").splitlines()
    ]
    assert table["columns"] == ["id", "prompt", "model", "text", "reward", "judge"]
    assert table["data"] == [
        [row["id"], row["prompt"], model, sample["text"], sample["reward"], sample["judge"]]
        for row in samples
        for model in ("reference", "policy")
        for sample in row[model]
    ]


@pytest.mark.parametrize("setting", ["bta=1", "studies/embedded.yaml:train.epoch=1"])
def test_a_mistyped_key_is_refused(clone, setting):
    done = clone.run(sys.executable, "-m", "dvc", "exp", "run", "-S", setting)
    assert done.returncode != 0
    assert re.search("Key '(bta|epoch)' is not in struct", done.stderr)
    assert run_stages(done.stdout + done.stderr) == []
    assert clone.git("status", "--porcelain") == ""


@pytest.mark.parametrize("command", [("exp", "run", "-S", "beta=-1"), ("repro",)])
def test_a_wrong_value_is_refused_before_anything_is_removed(clone, command):
    watched = ("models/policy/adapter_model.safetensors", "results/metrics.json", "dvc.lock")
    before = {path: clone.bytes(path) for path in (*watched, "data/study.json")}
    params = clone.bytes("params.yaml")
    if command == ("repro",):
        set_knobs(clone.folder, beta=-1)
    failed = clone.run(sys.executable, "-m", "dvc", *command)
    assert failed.returncode != 0
    (wrong,) = [line for line in failed.stderr.splitlines() if line.startswith("error:")]
    assert wrong.startswith("error: params.yaml: beta = -1")
    assert {path: clone.bytes(path) for path in watched} == {path: before[path] for path in watched}

    (clone.folder / "params.yaml").write_bytes(params)
    assert run_stages(clone.dvc("repro")) == []
    assert {path: clone.bytes(path) for path in before} == before
    assert up_to_date(clone)


def process_at_work(clone: Clone, stage: str, command: subprocess.Popen) -> int:
    """The process of a stage, once it has unfinished work on the disk."""
    while command.poll() is None:
        if any(path.stat().st_size for path in clone.folder.glob(f".ckpt/{stage}-*/{KEPT[stage]}")):
            for process in psutil.Process(command.pid).children(recursive=True):
                if process.cmdline()[-2:] == ["-m", f"stages.{stage}"]:
                    return process.pid
        time.sleep(0.005)
    raise AssertionError(f"{stage} ended before it could be seen: {command.communicate()}")


def test_a_refused_second_run_does_not_falsify_the_first(clone):
    before = {path: clone.bytes(path) for path in ("dvc.lock", "params.yaml")}
    first = clone.start("exp", "run", "-S", "beta=0.3")
    stage = process_at_work(clone, "train", first)
    os.kill(stage, signal.SIGSTOP)  # until the second has been refused
    second = clone.run(sys.executable, "-m", "dvc", "exp", "run", "-S", "beta=0.5")
    os.kill(stage, signal.SIGCONT)
    printed, _ = first.communicate()
    assert second.returncode != 0
    assert b"beta: 0.5" in clone.bytes("params.yaml")  # DVC writes it before it refuses
    assert first.returncode != 0
    (line,) = [line for line in printed.splitlines() if line.startswith("error:")]
    assert line.startswith("error: params.yaml: beta: was 0.3 when train began and is 0.5 now")
    recorded = yaml.safe_load(clone.bytes("dvc.lock"))["stages"]["train"]["params"]
    assert recorded["params.yaml"]["beta"] != 0.5

    again = clone.dvc("exp", "run", "-S", "beta=0.3")
    assert "train: goes on after step" in again
    assert json.loads(clone.bytes("models/policy/objective.json"))["beta"] == 0.3
    other = clone.dvc("exp", "run", "-S", "beta=0.5")
    assert "Stage 'train' is cached" not in other
    assert json.loads(clone.bytes("models/policy/objective.json"))["beta"] == 0.5
    clone.dvc("exp", "run", "-S", "beta=0.1")
    assert {path: clone.bytes(path) for path in before} == before
    assert up_to_date(clone)


@pytest.mark.parametrize("stage", ["generate", "train"])
def test_a_killed_stage_goes_on_to_the_same_bytes(clone, stage):
    lock = clone.bytes("dvc.lock")
    force = ("repro", "--force", "--single-item", stage)
    running = clone.start(*force)
    os.kill(process_at_work(clone, stage, running), signal.SIGKILL)
    running.communicate()
    assert running.returncode != 0
    assert f"{stage}: goes on after" in clone.dvc(*force)
    assert clone.bytes("dvc.lock") == lock
    assert up_to_date(clone)


def test_an_added_loss_concerns_training_and_evaluation_alone(clone):
    """Adds a loss for the time of the test: a second name of DPO, in one entry of the registry."""
    losses, params = clone.folder / "fdpo/losses.py", clone.folder / "params.yaml"
    before = losses.read_text(encoding="utf-8")
    first = '    Loss("sigmoid"'
    assert before.count(first) == 1
    entry = '    Loss("twin", "reverse KL", identity_link, bradley_terry, 1, "a test"),\n'
    losses.write_text(before.replace(first, entry + first), encoding="utf-8")
    try:
        changed = json.loads(clone.dvc("status", "--json").splitlines()[-1])
        load = "from fdpo.config.params import load_params; load_params()"
        params.write_text(params.read_text("utf-8").replace("loss: sigmoid", "loss: twin"), "utf-8")
        accepted = clone.run(sys.executable, "-c", load)
    finally:
        losses.write_text(before, encoding="utf-8")
        clone.git("restore", "params.yaml")
    assert sorted(changed) == ["evaluate", "train"]
    assert accepted.returncode == 0, accepted.stderr
    assert up_to_date(clone)
