"""Sweeps under real Git, DVC and Dask, in a repository whose stages take a moment.

A sweep of four rows runs in `first`, where one loss fails; the tests go on from there.
"""

import json
import os
import shutil
import signal
import subprocess
import time
from dataclasses import replace

import psutil
import pytest

from experiments.programs import last_error
from tests.support import sweep_repo
from tests.support.sweep_repo import SWEEP, SweepRepo

pytestmark = pytest.mark.slow

ONE_THREAD = {"OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def first(tmp_path_factory) -> tuple[SweepRepo, tuple[int, str, str]]:
    repo = sweep_repo.make(tmp_path_factory.mktemp("sweep"))
    (repo.control / "broken").write_text("fkl")
    ended = repo.sweep("run", "tiny", "--jobs", "1", **ONE_THREAD)
    (repo.control / "broken").write_text("")
    return repo, ended


@pytest.fixture
def repo(first, tmp_path) -> SweepRepo:
    """A copy; its clone is elsewhere, as a moved folder is."""
    for name in ("repo", "control"):
        shutil.copytree(first[0].folder.parent / name, tmp_path / name)
    control = tmp_path / "control"
    environment = first[0].environment | {"CONTROL": str(control)}
    return replace(first[0], folder=tmp_path / "repo", control=control, environment=environment)


def numbers(repo: SweepRepo) -> dict[str, dict]:
    """Every row's file, without what made it."""
    files = (repo.folder / "experiments/results/tiny").glob("*.json")
    rows = {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in files}
    return {name: row | {"made": None} for name, row in rows.items()}


def started_slowly(repo: SweepRepo, rows: int, *command: str) -> subprocess.Popen[str]:
    """A sweep or row whose last stages have begun, in so many rows, and are in no hurry."""
    (repo.control / "slow").touch()
    before = len(repo.ran)
    process = repo.start(*command, **ONE_THREAD)
    deadline = time.monotonic() + 600
    while len(repo.ran) < before + rows or len(repo.ran[-1]) < 6:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    (repo.control / "slow").unlink()
    return process


def gone(pid: int) -> bool:
    """Whether a process ends within seconds, though its parent may not have noticed."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.1)
    return False


def test_it_goes_on_past_failed_rows_and_names_their_logs(first):
    repo, (code, _, err) = first
    assert code == 1
    assert len(repo.ran) == 4
    assert sorted(repo.data_ran) == ["1", "2"]  # once for both rows of a seed
    assert sorted(numbers(repo)) == ["sigmoid-b1-s1", "sigmoid-b1-s2"]
    lines = err.strip().splitlines()[1:]
    assert len(lines) == 2
    for line in lines:
        assert "error: the GPU is on fire" in line
        log = line.rpartition(":")[2].rstrip(")")
        assert "the GPU is on fire" in (repo.folder / log).read_text(encoding="utf-8")


def test_a_file_holds_what_the_row_wrote_and_what_made_it(first):
    repo, _ = first
    folder = repo.folder / "experiments/results/tiny"
    row = json.loads((folder / "sigmoid-b1-s2.json").read_text(encoding="utf-8"))
    assert row["params"] == {
        "loss": "sigmoid",
        "beta": 1.0,
        "alpha": 0.5,
        "lr": 1e-05,
        "seed": 2,
        "prepare.train_prompts": 8,
        "prepare.heldout_prompts": 5,
    }
    assert row["study"] == "embedded"
    assert row["models"]["data"] == {"snippets": {"name": "made", "version": "1"}}
    assert row["models"]["inputs"] == {"user_data/a.csv": "0f"}
    assert row["metrics"] == {"reward": {"value": 3.0, "low": None, "high": 1 / 3}}
    assert row["curves"]["eval/rewards/margins"] == [[1, 0.1], [2, None]]
    assert row["curves"]["eval/loss_fell"] == [[1, 0.1], [2, None]]
    assert "eval/loss_median" not in row["curves"]  # as the stage wrote none
    assert set(row["samples"][0]["policy"][0]) == {"text", "reward", "judge"}
    assert row["counts"] == {
        "train_pairs": 8,
        "test_pairs": 2,
        "heldout_prompts": 5,
        "samples": 20,
    }
    assert row["heldout"]["kl"] == [[0.1235] * 4] * 5
    reference = json.loads((folder / f"references/{row['reference']}.json").read_text())
    assert reference["reward"] == [[0.5]] * 5
    assert reference["baselines"] == [{"baseline": "best_of", "n": 2, "seed": 2}]
    commit = repo.call("git", "rev-parse", "HEAD").strip()
    ref = f"refs/exps/{commit[:2]}/{commit[2:]}/tiny-sigmoid-b1-s2"
    assert row["made"]["commit"] == commit
    assert row["made"]["experiment"] == repo.call("git", "rev-parse", ref).strip()
    assert row["made"]["machine"].endswith("OMP_NUM_THREADS=1")


def test_the_workspace_stays_as_it_was(first):
    repo, _ = first
    assert repo.call("git", "status", "--porcelain") == "?? experiments/results/\n"
    assert not [path for path in (repo.folder / ".dvc/tmp/sweeps").glob("*-*") if path.is_dir()]


def test_what_is_missing_runs_as_committed_and_two_at_once_give_the_same(repo, tmp_path):
    edits = {"dvc.yaml": "stages: {}\n", "params.yaml": "study: mine\n"}
    for path, text in edits.items():
        repo.write(path, text)
    code, out, err = repo.sweep("run", "tiny", "--jobs", "1", **ONE_THREAD)
    assert (code, err) == (0, "")
    assert "dvc.yaml, params.yaml" in out
    assert len(repo.ran) == 6
    for path, text in edits.items():
        assert (repo.folder / path).read_text(encoding="utf-8") == text
    other = sweep_repo.make(tmp_path / "other")
    code, _, err = other.sweep("run", "tiny", "--jobs", "2", **ONE_THREAD)
    assert (code, err) == (0, "")
    assert len(other.ran) == 4
    assert sorted(other.data_ran) == ["1", "2"]
    assert numbers(other) == numbers(repo)


def test_a_row_edited_since_is_not_done_and_a_command_runs_it_alone(repo):
    repo.write("experiments/sweeps/tiny.yaml", SWEEP.replace("beta: 1}", "beta: 2}"))
    repo.commit()
    assert "sigmoid-b1-s1" in repo.sweep("list", "tiny")[1].split()
    assert len(repo.sweep("list", "tiny", "--data")[1].split()) == 2
    for _ in range(2):
        assert repo.sweep("row", "tiny", "sigmoid-b1-s1") == (0, "", "")
    assert numbers(repo)["sigmoid-b1-s1"]["metrics"]["reward"]["value"] == 3.0
    assert len(repo.ran) == 5
    assert repo.sweep("row", "tiny", "sigmoid-b1-s1", "--force") == (0, "", "")
    assert len(repo.ran) == 6


def test_interrupted_it_leaves_nothing_running_and_a_second_one_is_refused(repo):
    process = started_slowly(repo, 2, "run", "tiny", "--jobs", "2")
    code, _, err = repo.sweep("run", "tiny")
    assert code == 2
    assert "tiny.lock" in err
    stages = [int(ran[4]) for ran in repo.ran[-2:]]
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert len(err.splitlines()) == 1
    assert all(map(gone, stages))


@pytest.mark.parametrize("victim", ["worker", "sweep"])
def test_a_killed_workers_row_runs_again_and_a_killed_sweep_goes_on(repo, victim):
    process = started_slowly(repo, 1, "run", "tiny", "--jobs", "1")
    stage = int(repo.ran[-1][4])
    if victim == "worker":
        children = psutil.Process(process.pid).children(recursive=True)
        (row,) = [child for child in children if "--parent" in child.cmdline()]
        row.parent().kill()
    else:
        process.kill()
    out, err = process.communicate(timeout=300)
    assert gone(stage)
    if victim == "sweep":
        assert repo.sweep("run", "tiny", "--jobs", "1", **ONE_THREAD)[0] == 0
    else:
        assert process.returncode == 0, out + err
    assert len(numbers(repo)) == 4
    assert len(repo.ran) == 7  # four, the killed one, and both that failed before


def test_a_row_whose_job_is_ended_ends_its_stages(repo):
    process = started_slowly(repo, 1, "row", "tiny", "fkl-b0.1-s1")
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert gone(int(repo.ran[-1][4]))


def test_the_error_that_is_shown_is_the_error():
    unexpected = (
        "ERROR: unexpected error - disk I/O error\n\nHaving any troubles? Hit us up at x!\n"
    )
    assert last_error(unexpected) == "ERROR: unexpected error - disk I/O error"
    failed = "Traceback\nValueError: no\nERROR: failed to reproduce 'train': exited with 1\n"
    assert last_error(failed) == "ValueError: no"
    assert last_error("") == "it printed nothing"


def test_what_is_no_row_is_refused(repo):
    code, _, err = repo.sweep("row", "tiny", "fkl-b1-s1")
    assert code == 2
    assert "sigmoid-b1-s1" in err
    assert os.linesep not in err.strip()
