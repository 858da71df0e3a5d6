"""make passes on what a user gives as data, and runs what is in this folder's .venv."""

import json
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
RECORD = """#!/bin/sh
printf '%s\\0' "$@" >> calls; printf '\\n' >> calls
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


def make(project: Path, *arguments: str) -> tuple[subprocess.CompletedProcess, list[list[str]]]:
    done = subprocess.run(["make", *arguments], cwd=project, capture_output=True, text=True)
    calls = project / "calls"
    lines = calls.read_text().split("\0\n")[:-1] if calls.exists() else []
    return done, [line.split("\0") for line in lines]


NASTY = [
    "$(touch pwned)",
    "`touch pwned`",
    "$(shell touch pwned)",
    "$$(touch pwned)",
    "x; touch pwned",
    'x" ; touch pwned; "',
    "x' ; touch pwned; '",
    "${FDPO_REPO}",
    "*",
    "--help",
]
# The variables that are given as options; others come last, behind `--`.
OPTIONS = {
    "JOBS": "--jobs",
    "ROW": "--again",
    "N": "--samples",
    "TEMPERATURE": "--temperature",
    "SEED": "--seed",
    "FROM": "--from",
}


@pytest.mark.parametrize("value", NASTY)
@pytest.mark.parametrize(
    ("target", "variable", "others"),
    [
        ("evaluate", "ADAPTER", ()),
        ("publish", "REPO", ()),
        ("sweep", "SWEEP", ()),
        ("report", "SWEEP", ()),
        ("sweep", "JOBS", ("SWEEP=s",)),
        ("sweep-again", "ROW", ("SWEEP=s",)),
        ("sample", "PROMPT", ()),
        ("sample", "N", ("PROMPT=p",)),
        ("sample", "TEMPERATURE", ("PROMPT=p",)),
        ("sample", "SEED", ("PROMPT=p",)),
        ("export", "DIR", ()),
        ("new-study", "NAME", ()),
        ("new-study", "FROM", ("NAME=mine",)),
    ],
)
def test_a_value_is_data(project, target, variable, others, value):
    done, calls = make(project, target, f"{variable}={value}", *others)
    assert done.returncode == 0, done.stderr
    (call,) = calls
    given = f"{OPTIONS[variable]}={value}" if variable in OPTIONS else value
    assert call.count(given) == 1, json.dumps(call)
    assert variable in OPTIONS or call[-2:] == ["--", value]
    assert not (project / "pwned").exists()


def test_rows_are_words_and_nothing_more(project):
    done, ((*_, sweep),) = make(
        project, "sweep", "SWEEP=s", "ROWS=a * `touch pwned` $(touch pwned)"
    )
    assert done.returncode == 0
    assert sweep == "s"
    _, calls = make(project, "sweep", "SWEEP=s", "ROWS=a * b")
    assert calls[-1] == ["-m", "experiments.sweep", "--rows", "a", "*", "b", "--", "s"]
    assert not (project / "pwned").exists()


def test_experiments_to_compare_are_words_and_nothing_more(project):
    done, (plots,) = make(project, "plots", "EXPERIMENTS=a * `touch pwned` $(touch pwned)")
    assert done.returncode == 0
    assert plots[:4] == ["-m", "experiments.plots", "--", "a"]
    assert plots[4:] == ["*", "`touch", "pwned`", "$(touch", "pwned)"]
    assert not (project / "pwned").exists()
    _, calls = make(project, "plots")
    assert calls[-1] == ["-m", "experiments.plots", "--"]


@pytest.mark.parametrize(
    ("target", "given", "line"),
    [
        ("evaluate", [], "ADAPTER is not given; `make evaluate ADAPTER=user/name or a folder`"),
        ("publish", [], "REPO is not given; `make publish REPO=user/name`"),
        ("new-study", [], "NAME is not given; `make new-study NAME=mine`"),
        ("sample", [], 'PROMPT is not given; `make sample PROMPT="The film"`'),
        ("sweep", ["SWEEP= "], "SWEEP is not given; `make sweep SWEEP=controlled`"),
        ("sweep-again", ["SWEEP=s"], "ROW is not given; `make sweep-again ROW=A`"),
    ],
)
def test_what_is_missing_is_named_and_nothing_runs(project, target, given, line):
    done, calls = make(project, target, *given)
    assert done.returncode != 0
    assert line in done.stderr
    assert calls == []


@pytest.mark.parametrize(("given", "options"), [((), []), (("QUICK=1",), ["--quick"])])
def test_the_benchmarks_have_a_quick_form(project, given, options):
    done, calls = make(project, "bench", *given)
    assert done.returncode == 0, done.stderr
    assert calls == [["-m", "benchmarks", *options]]


def test_a_setting_of_the_params_is_shown_as_it_was_given(project):
    done, calls = make(project, "repro", "beta=$(shell touch pwned)")
    assert done.returncode != 0
    assert "settings of params.yaml" in done.stderr
    assert calls == []
    assert not (project / "pwned").exists()


@pytest.mark.parametrize(("code", "ends"), [(0, 0), (1, 2), (2, 2), (141, 0)])
@pytest.mark.parametrize("command", [["table"], ["sample", "PROMPT=p"], ["evaluate", "ADAPTER=a"]])
def test_a_reader_that_has_gone_is_no_failure(project, command, code, ends):
    with (project / ".venv/bin/python").open("a") as python:
        python.write(f"exit {code}\n")
    done, _ = make(project, *command)
    assert done.returncode == ends
    assert (f"Error {code}" in done.stderr) == bool(ends)


def test_in_a_moved_folder_everything_runs(project):
    """A venv's own scripts name the folder that it was made in; none of them is used."""
    moved = project.rename(project.with_name("elsewhere"))
    done, calls = make(moved, "repro")
    assert done.returncode == 0, done.stderr
    assert [call[:3] for call in calls] == [
        ["-m", "fdpo.run.dvc_rwlock"],
        ["-m", "dvc", "repro"],
        ["-m", "experiments.samples"],
        ["-m", "experiments.summary"],
    ]
