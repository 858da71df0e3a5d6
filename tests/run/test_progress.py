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
with progress_of("train", 8, "steps", done=2) as training:
    for step in range(6):
        training.note(f"loss 0.{step}")
        training.update(1)
"""


def test_a_log_has_whole_lines(monkeypatch, capfd):
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
    with progress_of("train", 100, "steps", done=20) as training:
        training.note("loss 3")
        training.update(40)
    first, *_ = capfd.readouterr().err.splitlines()
    assert first.startswith("train: 60 of 100 steps, ")
    assert first.endswith("left, loss 3")


def test_what_is_not_shown_leaves_no_line(capfd):
    assert list(counted("abc", "score", 3, "prompts")) == ["a", "b", "c"]
    capfd.readouterr()
    with progress_of("generate", 10, "samples", shown=False) as hidden:
        hidden.update(5)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("columns", [60, 120])
def test_a_terminal_has_a_bar_within_its_width(columns):
    terminal, stage = pty.openpty()
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    subprocess.run(["stty", "rows", "50", "cols", str(columns)], stdin=stage, check=True)
    subprocess.run([sys.executable, "-c", TRAINING], stderr=stage, env=environment, check=True)
    drawn = b""
    while select.select([terminal], [], [], 0)[0]:
        drawn += os.read(terminal, 4096)
    for end in (terminal, stage):
        os.close(end)
    *_, last = drawn.decode().rstrip().split("\r")
    assert last.startswith("train: 100%|")
    assert "8/8" in last
    assert len(last) <= columns
