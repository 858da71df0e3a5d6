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
    (folder / "Makefile").write_bytes((ROOT / "Makefile").read_bytes())
    (folder / "requirements.txt").touch()
    python = folder / ".venv/bin/python"
    python.write_text(RECORD)
    python.chmod(0o755)
    (folder / ".venv/installed").touch()
    return folder


def make(project: Path, *arguments: str) -> tuple[subprocess.CompletedProcess, list[str]]:
    done = subprocess.run(["make", *arguments], cwd=project, capture_output=True, text=True)
    calls = project / "calls"
    return done, calls.read_text().splitlines() if calls.exists() else []


@pytest.mark.parametrize(
    ("arguments", "call"),
    [
        (("table",), "-m experiments.table"),
        (("plots", "EXPERIMENTS=a b"), "-m experiments.plots -- a b"),
        (("sweep", "SWEEP=s", "JOBS=2"), "-m experiments.sweep run s --jobs 2"),
        (("report", "SWEEP=s"), "-m experiments.report s"),
        (("evaluate", "ADAPTER=a/b"), "-m experiments.evaluate_adapter -- a/b"),
        (
            ("sample", "PROMPT=The film", "N=2"),
            "-m experiments.sample_prompt --samples=2 -- The film",
        ),
        (("bench", "QUICK=1"), "-m benchmarks --quick"),
    ],
)
def test_a_value_reaches_its_command(project, arguments, call):
    done, calls = make(project, *arguments)
    assert done.returncode == 0, done.stderr
    assert [" ".join(line.split()) for line in calls] == [call]


def test_repro_runs_then_shows(project):
    done, calls = make(project.rename(project.with_name("elsewhere")), "repro")
    assert done.returncode == 0, done.stderr
    assert calls == ["-m dvc repro", "-m experiments.samples", "-m experiments.summary"]


@pytest.mark.parametrize("arguments", [("repro", "beta=1"), ("sweep",), ("publish",), ("sample",)])
def test_what_would_run_something_else_is_refused(project, arguments):
    done, calls = make(project, *arguments)
    assert done.returncode != 0
    assert calls == []
