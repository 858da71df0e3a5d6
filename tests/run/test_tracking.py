"""The logbook alone: when it is there, what becomes of it when things fail, and which run it is.

What training and evaluation write into it is tested in tests/pipeline, under DVC.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from fdpo.config.params import load_params
from fdpo.run import tracking
from tests.support import logbooks
from tests.support.settings import ROOT, copy_settings

KEY = "0123456789abcdef0123456789abcdef01234567"
NOWHERE = "http://127.0.0.1:9"
STAGE = """
import sys
from fdpo.config import params
from fdpo.run import tracking
with tracking.logbook(params.load_params()) as book:
    book.curves({"train/loss": 0.5}, step=1)
    book.curves({"train/loss": 0.25}, step=3)
    book.results({"reward": 0.125}, samples=[])
print("wandb" in sys.modules)
"""


@pytest.fixture
def workspace(tmp_path, monkeypatch) -> Path:
    copy_settings(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run_stage(**environment: str) -> subprocess.CompletedProcess[str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith("WANDB")}
    own |= {"PYTHONPATH": str(ROOT), "HOME": str(Path("home").resolve())}
    command = [sys.executable, "-c", STAGE]
    return subprocess.run(
        command, env=own | environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"WANDB_MODE": "disabled", "WANDB_API_KEY": KEY},
        {"WANDB_MODE": "offline", "RANK": "1"},  # another process than the first of several
    ],
)
def test_unless_chosen_nothing_is_imported_or_written(workspace, environment):
    before = sorted(workspace.iterdir())
    done = run_stage(**environment)
    assert (done.returncode, done.stdout, done.stderr) == (0, "False\n", "")
    assert sorted(workspace.iterdir()) == before


@pytest.mark.slow
def test_without_a_server_there_is_a_warning_and_the_run_is_kept(workspace):
    started = time.monotonic()
    done = run_stage(WANDB_API_KEY=KEY, WANDB_BASE_URL=NOWHERE)
    assert time.monotonic() - started < 80  # wandb's own limit is 90, the project's 10
    assert (done.returncode, done.stdout) == (0, "True\n")
    warning, place = done.stderr.splitlines()
    assert warning.startswith("warning: Weights & Biases: ")
    assert "connection refused" in warning
    assert place.startswith("wandb: ")

    (run,) = logbooks.runs(workspace / "wandb")
    assert run.curves["train/loss"] == [(1, 0.5), (3, 0.25)]
    assert run.summary["reward"] == 0.125
    everything = [path.read_bytes() for path in workspace.rglob("*") if path.is_file()]
    assert not any(KEY.encode() in text for text in [done.stderr.encode(), *everything])


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
