"""The whole pipeline under DVC, on a tiny model, in a clone, offline.

The tests share one clone and each leaves it as it was: run once, committed, up to date.
"""

import json
import math
import os
import re
import shlex
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
DOCS = cloning.ROOT / "docs"
HEADLINE = {"accuracy", "distinct_2", "entropy", "judge", "kl", "reward", "reward_win_rate"}
SECRETS = {name: f"{name.lower()}_" + 40 * "5" for name in ("HF_TOKEN", "WANDB_API_KEY")}


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
    assert clone.git("status", "--porcelain") == ""
    tracked = clone.git("ls-files", "data", "models", ".ckpt").split()
    assert tracked == ["data/README.md", "models/README.md"]
    assert not list((clone.folder / ".ckpt").glob("*-????????????????"))  # no work is left
    metrics = json.loads(clone.bytes("results/metrics.json"))
    assert metrics.keys() == HEADLINE | {"reward_reference"}
    assert all(type(value) is float and math.isfinite(value) for value in metrics.values())
    reward = json.loads(clone.bytes("results/evaluate/metrics.json"))["reward"]
    assert round(reward["value"], 4) == metrics["reward"]
    assert reward["low"] <= reward["value"] <= reward["high"]


@pytest.fixture(scope="module")
def logged(clone) -> str:
    """What a forced run with a logbook prints; Python's sets come in another order."""
    environment = SECRETS | {"WANDB_MODE": "offline", "PYTHONHASHSEED": "3"}
    return clone.dvc("exp", "run", "--force", "--name", "logged", **environment)


def test_a_forced_run_with_a_logbook_gives_the_same_bytes(clone, logged):
    assert run_stages(logged) == STAGES
    assert "\r" not in logged  # which bars draw themselves with: a log has lines
    assert clone.git("status", "--porcelain") == ""


def test_no_token_of_the_environment_is_written_or_printed(clone, logged):
    written = [path for path in clone.folder.rglob("*") if path.is_file()]
    assert clone.folder / "models/policy/README.md" in written
    for secret in SECRETS.values():
        assert secret not in logged
        assert [path for path in written if secret.encode() in path.read_bytes()] == []


def test_the_logbook_has_the_results(clone, logged):
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
    page = (DOCS / "metrics.md").read_text(encoding="utf-8")
    table = re.findall(r"^\| `[\w/]+` \| `(.+)\.tsv` \| `(.+?)` \|", page, re.MULTILINE)
    assert {file for file, _ in table} >= set(names)
    assert {name for name in train.curves if not name.startswith("_")} == set(names)
    for name in names:
        rows = [line.split("\t") for line in (curves / f"{name}.tsv").read_text().split("\n")[1:-1]]
        assert train.curves[name] == [(int(step), pytest.approx(float(v))) for step, v in rows]

    metrics = json.loads(clone.bytes("results/metrics.json"))
    assert {name: evaluate.summary[name] for name in metrics} == metrics
    assert evaluate.summary["all"] == json.loads(clone.bytes("results/evaluate/metrics.json"))
    (table,) = evaluate.tables
    samples = map(json.loads, clone.bytes("results/evaluate/samples.jsonl").splitlines())
    assert table["columns"] == ["id", "prompt", "model", "text", "reward", "judge"]
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
    """The first is of another loss: it trains and evaluates alone; the way back runs nothing."""
    other, back = (
        [part for setting in settings.split() for part in ("-S", setting)]
        for settings in ("loss=fkl beta=1 lr=1e-5", "loss=sigmoid beta=0.1 lr=auto")
    )
    before = {path: clone.bytes(path) for path in ("dvc.lock", "params.yaml")}
    first = clone.start("exp", "run", *other)
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

    again = clone.dvc("exp", "run", *other)
    assert run_stages(again)[-2:] == ["train", "evaluate"]
    assert "generate" not in run_stages(again)
    assert "train: goes on after step" in again
    assert trained(clone) == ("fkl", 1, 1e-5)
    page = (DOCS / "troubleshooting.md").read_text(encoding="utf-8")
    typed = re.search(r"^dvc (exp show .+)$", page, re.MULTILINE).group(1)
    lines = clone.run("dvc", *shlex.split(typed), COLUMNS="80").stdout.splitlines()
    assert max(map(len, lines)) <= 80
    header = next(line for line in lines if "Experiment" in line)
    assert {"loss", "beta", "reward", "kl", "judge"} <= set(header.split())

    done = clone.dvc("exp", "run", *back)
    assert run_stages(done) == []
    assert len(re.findall(r"Stage '(?:train|evaluate)' is cached - skipping run", done)) == 2
    assert trained(clone)[:2] == ("sigmoid", 0.1)
    assert {path: clone.bytes(path) for path in before} == before
    assert up_to_date(clone)


def trained(clone: Clone) -> tuple[str, float, float]:
    """Loss, β and learning rate of the policy that is there."""
    objective = json.loads(clone.bytes("models/policy/objective.json"))
    return objective["loss"], objective["beta"], objective["lr"]


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


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("studies/embedded.yaml:train.epoch=1", "Key 'epoch' is not in struct"),
        ("beta=-1", "error: params.yaml: beta = -1"),
    ],
)
def test_a_wrong_setting_is_refused_before_anything_is_removed(clone, setting, said):
    watched = ("models/policy/adapter_model.safetensors", "results/metrics.json", "dvc.lock")
    before = {path: clone.bytes(path) for path in watched}
    failed = clone.run(sys.executable, "-m", "dvc", "exp", "run", "-S", setting)
    assert failed.returncode != 0
    assert said in failed.stderr
    assert {path: clone.bytes(path) for path in watched} == before
    clone.git("restore", "params.yaml")
    assert run_stages(clone.dvc("repro")) == []
    assert clone.git("status", "--porcelain") == ""


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
