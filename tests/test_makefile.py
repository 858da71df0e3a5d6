"""make passes on what a user gives, and refuses what would silently run the default."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
RECORD = """#!/bin/sh
printf '%s\\n' "$*" >> calls
"""


@pytest.fixture
def project(tmp_path) -> Path:
    """The Makefile beside an environment whose Python writes down how it is called."""
    folder = tmp_path / "a folder"
    (folder / ".venv/bin").mkdir(parents=True)
    for name in ("Makefile", "requirements.txt"):
        (folder / name).write_bytes((ROOT / name).read_bytes())
    python = folder / ".venv/bin/python"
    python.write_text(RECORD)
    python.chmod(0o755)
    (folder / ".venv/installed").touch()
    return folder


@pytest.mark.parametrize(
    ("arguments", "calls"),
    [
        (["repro"], ["-m dvc repro", "-m experiments.samples", "-m experiments.summary"]),
        (["sample", "PROMPT=A film"], ["-m experiments.sample_prompt -- A film"]),
        (["repro", "beta=1"], []),
        (["sweep"], []),
    ],
)
def test_a_value_reaches_its_command_or_nothing_runs(project, arguments, calls):
    done = subprocess.run(["make", *arguments], cwd=project, capture_output=True)
    assert (done.returncode == 0) == bool(calls)
    written = project / "calls"
    ran = written.read_text().splitlines() if written.exists() else []
    assert [" ".join(line.split()) for line in ran] == calls
