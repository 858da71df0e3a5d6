"""What shows progress: lines in a log, a bar in a terminal."""

import os
import pty
import select
import subprocess
import sys
from pathlib import Path

import pytest

from fdpo.run import progress
from fdpo.run.progress import counted, progress_of

ROOT = Path(__file__).parents[2]
TRAINING = """
from fdpo.run.progress import progress_of
training = progress_of("train", 8, "steps", done=2)
for step in range(6):
    training.advance(1)
    training.note = f"loss 0.{step}"
training.close()
"""


@pytest.fixture
def clock(monkeypatch) -> list[float]:
    """What the time is, in its only element."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_a_log_has_a_line_every_so_often(clock, capfd):
    training = progress_of("train", 100, "steps", done=20)
    for step in range(80):
        clock[0] += 0.5
        training.advance(1)
        training.note = f"loss {step}"
    training.close()
    lines = capfd.readouterr().err.splitlines(keepends=True)
    assert lines == [
        "train: goes on after 20 of 100 steps\n",
        "train: 40 of 100 steps, loss 18, 00:30 left\n",
        "train: 60 of 100 steps, loss 38, 00:20 left\n",
        "train: 80 of 100 steps, loss 58, 00:10 left\n",
        "train: 100 of 100 steps, loss 78, 00:00 left\n",
    ]


def test_work_of_a_moment_leaves_no_line_and_what_is_not_shown_none_at_all(clock, capfd):
    assert list(counted("abc", "score", 3, "prompts")) == ["a", "b", "c"]
    hidden = progress_of("generate", 10, "samples", shown=False)
    clock[0] += 3600
    hidden.advance(5)
    hidden.close()
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("columns", [60, 120])
def test_a_terminal_has_a_bar_with_name_count_loss_and_time_left(columns):
    """At its end, within the terminal's width."""
    terminal, stage = pty.openpty()
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TQDM_DISABLE": "1"}
    subprocess.run(["stty", "rows", "50", "cols", str(columns)], stdin=stage, check=True)
    subprocess.run([sys.executable, "-c", TRAINING], stderr=stage, env=environment, check=True)
    drawn = b""
    while select.select([terminal], [], [], 0)[0]:
        drawn += os.read(terminal, 4096)
    for end in (terminal, stage):
        os.close(end)
    *_, last = drawn.decode().rstrip().split("\r")
    assert last.startswith("train: 100%|")
    assert "| 8/8 steps [" in last
    assert last.endswith("00:00 left, loss 0.5]")
    assert len(last) <= columns
