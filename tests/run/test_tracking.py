"""The logbook alone: when it is there, what becomes of it when things fail, and which run it is.

What training and evaluation write into it is tested in tests/pipeline, under DVC.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from fdpo.config.params import load_params
from fdpo.run import tracking
from tests.support import logbooks

ROOT = Path(__file__).parents[2]
KEY = "0123456789abcdef0123456789abcdef01234567"
NOWHERE = "http://127.0.0.1:9"
STAGE = """
import pathlib, sys
from fdpo.config import params
from fdpo.run import tracking
with tracking.logbook(params.load_params()) as book:
    book.curves({"train/loss": 0.5}, step=1)
    book.curves({"train/loss": 0.25}, step=3)
    if "fail" in sys.argv: sys.exit("the stage failed")
    book.results({"reward": 0.125}, samples=[])
    book.policy(pathlib.Path("policy"), params.load_params())
print("wandb" in sys.modules)
"""


@pytest.fixture
def workspace(tmp_path, monkeypatch) -> Path:
    for name in ("params.yaml", "dvc.yaml"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    shutil.copytree(ROOT / "studies", tmp_path / "studies")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run_stage(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith("WANDB")}
    own |= {"PYTHONPATH": str(ROOT), "HOME": str(Path("home").resolve())}
    command = [sys.executable, "-c", STAGE, *arguments]
    return subprocess.run(
        command, env=own | environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"WANDB_MODE": "disabled", "WANDB_API_KEY": KEY},
        {"WANDB_DISABLED": "true", "WANDB_API_KEY": KEY},
        {"WANDB_MODE": "offline", "RANK": "1"},  # another process than the first of several
    ],
)
def test_unless_chosen_nothing_is_imported_or_written(workspace, environment):
    before = sorted(workspace.iterdir())
    done = run_stage(**environment)
    assert (done.returncode, done.stdout, done.stderr) == (0, "False\n", "")
    assert sorted(workspace.iterdir()) == before


@pytest.mark.slow
@pytest.mark.parametrize(
    ("key", "reason"), [(KEY, "connection refused"), ("not-a-key", "WANDB_API_KEY invalid")]
)
def test_without_a_server_there_is_a_warning_and_the_run_is_kept(workspace, key, reason):
    started = time.monotonic()
    done = run_stage(WANDB_API_KEY=key, WANDB_BASE_URL=NOWHERE)
    assert time.monotonic() - started < 80  # wandb's own limit is 90, the project's 10
    assert (done.returncode, done.stdout) == (0, "True\n")
    warning, place = done.stderr.splitlines()
    assert warning.startswith("warning: Weights & Biases: ")
    assert reason in warning
    assert warning.endswith("; the run is kept offline; `wandb sync` sends it later")
    assert place.startswith("wandb: ")

    (run,) = logbooks.runs(workspace / "wandb")
    assert run.curves["train/loss"] == [(1, 0.5), (3, 0.25)]
    assert run.summary["reward"] == 0.125
    everything = [path.read_bytes() for path in workspace.rglob("*") if path.is_file()]
    assert not any(key.encode() in text for text in [done.stderr.encode(), *everything])


@pytest.mark.slow
def test_a_failing_stage_is_recorded_as_failed_and_fails_as_before(workspace):
    done = run_stage("fail", WANDB_MODE="offline", WANDB_DIR="elsewhere", DVC_ROOT=str(workspace))
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "the stage failed"
    (run,) = logbooks.runs(workspace / "elsewhere/wandb")
    assert run.exit_code == 1
    assert (run.name, run.group, run.project) == (None, None, "f-dpo")


@pytest.mark.slow
@pytest.mark.parametrize("asked", ["end", "false"])
def test_a_run_has_tags_and_where_asked_the_policy(workspace, asked):
    (workspace / "policy").mkdir()
    (workspace / "policy/objective.json").write_text("{}")
    done = run_stage(WANDB_MODE="offline", WANDB_LOG_MODEL=asked, DVC_EXP_NAME="moody-film")
    assert (done.returncode, done.stderr.count("warning")) == (0, 0)
    (run,) = logbooks.runs(workspace / "wandb")
    settings = load_params()
    assert set(run.tags) == {settings.study, settings.loss, "f-dpo"}
    policies = [artifact for artifact in run.artifacts if artifact["type"] == "model"]
    if asked == "false":
        assert policies == []
        return
    (policy,) = policies
    assert policy["name"] == f"policy-{settings.study}"
    assert sorted(policy["aliases"]) == ["latest", "moody-film"]
    assert [entry["path"] for entry in policy["manifest"]["contents"]] == ["objective.json"]
    assert json.loads(policy["metadata"])["loss"] == settings.loss


@pytest.mark.slow
def test_a_folder_that_cannot_be_written_is_a_warning(workspace):
    (workspace / "wandb").write_text("a file where wandb wants its folder")
    done = run_stage(WANDB_MODE="offline")
    assert done.returncode == 0
    assert [line.split(":")[0] for line in done.stderr.splitlines()] == ["warning", "warning"]
    assert done.stderr.endswith("no run is kept\n")


def test_a_run_is_known_by_what_its_policy_follows_from(workspace):
    settings = load_params()
    (workspace / "pairs").write_text("pairs")
    (workspace / "code.py").write_text("code")
    (workspace / "reference").mkdir()
    deps = {"stages": {"train": {"deps": ["pairs", "code.py", "reference"]}}}
    (workspace / "dvc.yaml").write_text(yaml.safe_dump(deps))
    first = tracking.run_id(settings)

    def changed(**update: object) -> str:
        return tracking.run_id(settings.model_copy(update=update))

    evaluation = settings.active.evaluate.model_copy(update={"distinct_budget": 7})
    study = settings.active.model_copy(update={"evaluate": evaluation})
    assert changed(active=study) == first
    assert changed(lr=settings.effective_lr) == first  # what `auto` stands for
    others = [changed(beta=7.0), changed(seed=7), changed(loss="fkl"), changed(lr=7.0)]
    for name in ("pairs", "code.py"):
        (workspace / name).write_text("other")
        others.append(changed())
    assert len({first, *others}) == 7
