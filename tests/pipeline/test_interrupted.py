"""Stages and DVC killed at random moments; a disk that is full or read-only.

`python -m tests.kill_trials` kills many times more often.
"""

import random
import re

import pytest

from tests.support import clone as cloning
from tests.support import disks, dvc_trials
from tests.support.trials import OUTPUTS, SIGNALS, Workspace, prepared, trial

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def workspace(tmp_path_factory) -> Workspace:
    made = prepared(cloning.make(tmp_path_factory.mktemp("interrupted")))
    dvc_trials.commit(made)
    return made


@pytest.mark.parametrize("name", SIGNALS)
@pytest.mark.parametrize("stage", OUTPUTS)
def test_a_killed_stage_goes_on_and_writes_the_same_bytes(workspace, stage, name):
    draws = random.Random(f"{stage} {name}")  # noqa: S311 - moments, not secrets
    trial(workspace, stage, name, draws)


def test_a_stage_that_outlives_dvc_is_named_and_nothing_is_written_beside_it(workspace):
    outcome = dvc_trials.trial(workspace, "train", "SIGKILL", "DVC", False, random.Random(1))  # noqa: S311
    assert outcome.signal.endswith("orphan named")


def test_ctrl_c_in_a_temporary_run(workspace):
    dvc_trials.trial(workspace, "generate", "SIGINT", "stage", True, random.Random(2))  # noqa: S311


@pytest.mark.parametrize(
    ("stage", "place", "size"),
    [("generate", ".ckpt", "16k"), ("train", ".ckpt", "300k"), ("evaluate", "results", "8k")],
)
def test_a_full_disk_ends_a_stage_in_one_line_and_loses_nothing(workspace, stage, place, size):
    (code, full), (again, freed) = disks.runs(workspace, stage, place, f"size={size}", "size=100m")
    assert code == 2
    (line,) = errors(full)
    assert re.match(rf"error: {place}/\S+: No space left on device; free some space and run", line)
    assert again == 0, freed
    assert "goes on" in freed
    assert workspace.written(stage) == workspace.expected[stage]


@pytest.mark.parametrize("stage", OUTPUTS)
def test_a_read_only_workspace_ends_a_stage_in_one_line(workspace, stage):
    ((code, printed),) = disks.runs(workspace, stage, ".ckpt", "ro")
    assert code == 2
    assert errors(printed) == [
        f"error: .ckpt/{stage}.lock: Read-only file system; mount it for writing, or work in a"
        " clone elsewhere and run again; nothing that was finished is lost"
    ]


def errors(printed: str) -> list[str]:
    assert "Traceback" not in printed
    return [line for line in printed.splitlines() if line.startswith("error: ")]
