"""The sweep runner under real Git and DVC, in a repository whose one stage takes a moment.

Half of a sweep of four rows runs once, in `first`; every test takes a copy of what that left.
"""

import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from experiments.sweep.commands import last_error

from experiments.sweep import finished, machine, spec
from experiments.sweep.results import NEEDED_METRICS
from fdpo.config.params import load_params
from tests.support import sweep_repo
from tests.support.sweep_repo import SWEEP, SweepRepo

pytestmark = pytest.mark.slow

RESULTS = "experiments/results/tiny.json"
HALF = ("sigmoid-b1-s1", "fkl-b0.1-s1", "sigmoid-b1-s2")


@pytest.fixture(scope="module")
def first(tmp_path_factory) -> tuple[SweepRepo, tuple[int, str, str]]:
    repo = sweep_repo.make(tmp_path_factory.mktemp("sweep"))
    (repo.control / "broken").write_text("fkl")
    ended = repo.sweep("tiny", "--rows", *HALF)
    (repo.control / "broken").write_text("")
    return repo, ended


@pytest.fixture
def repo(first, tmp_path) -> SweepRepo:
    """A copy; its clone is elsewhere, as a moved folder is."""
    for name in ("repo", "control"):
        shutil.copytree(first[0].folder.parent / name, tmp_path / name)
    control = tmp_path / "control"
    return replace(
        first[0],
        folder=tmp_path / "repo",
        control=control,
        environment=first[0].environment | {"CONTROL": str(control)},
    )


def results(repo: SweepRepo) -> dict:
    return json.loads((repo.folder / RESULTS).read_text(encoding="utf-8"))


def experiments(repo: SweepRepo) -> list[str]:
    refs = repo.call("git", "for-each-ref", "--format=%(refname)", "refs/exps/??/*/*")
    return sorted(ref.rsplit("/", 1)[1] for ref in refs.split())


def folders_of_runs(repo: SweepRepo) -> list[Path]:
    return list((repo.folder / ".dvc/tmp").glob("**/standalone/tmp*"))


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended may wait for its parent to notice."""
    shown = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True)
    return shown.stdout.strip()[:1] not in ("", "Z")


def started_slowly(repo: SweepRepo, *rows: str) -> tuple[subprocess.Popen[str], list[int]]:
    """A sweep within the last stage of these rows: the runner, and the stages' processes."""
    (repo.control / "slow").touch()
    before = len(repo.ran)
    process = repo.start("tiny", "--rows", *rows, jobs=len(rows))
    deadline = time.monotonic() + 180
    while len(repo.ran) < before + len(rows) or len(repo.ran[-1]) < 6:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    (repo.control / "slow").unlink()
    return process, [int(ran[4]) for ran in repo.ran[before:]]


def test_it_goes_on_past_a_failed_row_and_lists_it(first):
    repo, (code, out, err) = first
    assert code == 1
    assert [ran[:4] for ran in repo.ran] == [
        ["sigmoid", "1.0", "1e-05", "1"],
        ["fkl", "0.1", "1e-05", "1"],
        ["sigmoid", "1.0", "1e-05", "2"],
    ]
    lines = out.splitlines()
    assert lines[0].endswith(" 3 rows, 0 done")
    assert re.fullmatch(
        r"[\d:]{8} \[1/3\] sigmoid-b1-s1: done in \d+ s; 2 left, (about|less).*", lines[1]
    )
    assert re.match(r"[\d:]{8} \[2/3\] fkl-b0.1-s1: failed: error: the GPU is on fire;", lines[2])
    assert re.fullmatch(r"[\d:]{8} \[3/3\] sigmoid-b1-s2: done in \d+ s; 0 left", lines[3])
    assert err.splitlines() == [
        "1 of 3 rows failed:",
        "  fkl-b0.1-s1: error: the GPU is on fire (.dvc/tmp/sweeps/tiny/fkl-b0.1-s1.log.err)",
    ]


def test_the_results_hold_what_the_runs_wrote_and_what_made_them(first):
    repo, _ = first
    whole = results(repo)
    assert (whole["sweep"], whole["study"]) == ("tiny", "embedded")
    assert whole["models"] == {
        "data": {"snippets": {"name": "made", "version": "1"}},
        "reference": {"name": "tiny"},
    }
    assert sorted(whole["rows"]) == ["sigmoid-b1-s1", "sigmoid-b1-s2"]
    row = whole["rows"]["sigmoid-b1-s2"]
    assert row["params"] == {
        "loss": "sigmoid",
        "beta": 1.0,
        "alpha": 0.5,
        "lr": 1e-05,
        "seed": 2,
        "studies.embedded.prepare.train_prompts": 8,
        "studies.embedded.prepare.heldout_prompts": 5,
    }
    assert row["metrics"]["reward"] == {"value": 3.0, "low": None, "high": 1 / 3}
    assert set(row["metrics"]) == {*NEEDED_METRICS, "judge_difference"}
    assert row["calibration"] == [{"confidence": 0.5, "accuracy": 0.6, "count": 2}]
    assert row["curves"] == {
        f"{split}/{what}": [[1, 0.1], [2, None]]
        for split in ("train", "test")
        for what in ("loss", "margin", "accuracy")
    }
    assert [sample["id"] for sample in row["samples"]] == [7, 7, 7]
    assert row["counts"] == {
        "train_pairs": 8,
        "test_pairs": 2,
        "heldout_prompts": 5,
        "samples": 20,
    }
    assert set(row["samples"][0]["policy"][0]) == {"text", "reward", "judge"}
    assert row["heldout"] == {
        "reward": [[0.5] * 4] * 5,
        "judge": [[0.1] * 4] * 5,
        "kl": [[0.1235] * 4] * 5,
        "entropy": [[3.0] * 4] * 5,
    }
    assert whole["references"][row["reference"]] == {
        "prompts": [7] * 5,
        "reward": [[0.5]] * 5,
        "judge": [[0.1]] * 5,
        "baselines": [{"baseline": "best_of", "n": 2, "seed": 2}],
    }
    assert len(whole["references"]) == 2  # one per seed
    made = row["made"]
    assert made["commit"] == repo.call("git", "rev-parse", "HEAD").strip()
    ref = f"refs/exps/{made['commit'][:2]}/{made['commit'][2:]}/sigmoid-b1-s2"
    assert made["experiment"] == repo.call("git", "rev-parse", ref).strip()
    assert sorted(made["packages"]) == ["dvc", "peft", "torch", "transformers", "trl"]
    assert made["seconds"] > 0
    assert "1 threads a process" in made["machine"]
    assert made["python"] == ".".join(map(str, sys.version_info[:3]))


def test_the_workspace_stays_as_it_was(first):
    repo, _ = first
    assert repo.call("git", "status", "--porcelain") == "?? experiments/results/\n"
    assert not (repo.folder / "results").exists()
    assert folders_of_runs(repo) == []


def test_run_again_it_runs_what_is_missing_as_last_committed_whatever_is_edited(repo):
    edits = {"dvc.yaml": "stages: {}\n", "params.yaml": "study: mine\n"}
    for path, text in edits.items():
        repo.write(path, text)
    code, out, err = repo.sweep("tiny")
    assert (code, err) == (0, "")
    said, rows_done, *_ = out.splitlines()
    assert said == "sweep: the last commit runs, without the changes in dvc.yaml, params.yaml"
    assert rows_done.endswith(" 4 rows, 2 done")
    assert [ran[:4] for ran in repo.ran[3:]] == [
        ["fkl", "0.1", "1e-05", "1"],
        ["fkl", "0.1", "1e-05", "2"],
    ]
    assert sorted(results(repo)["rows"]) == sorted([*HALF, "fkl-b0.1-s2"])
    for path, text in edits.items():
        assert (repo.folder / path).read_text(encoding="utf-8") == text


def test_a_finished_experiment_is_taken_up_where_its_data_are_there(repo):
    before = results(repo)["rows"]
    (repo.folder / RESULTS).unlink()
    code, out, err = repo.sweep("tiny", "--rows", "sigmoid-b1-s2", "sigmoid-b1-s1")
    assert (code, err) == (0, "")
    assert out.count("taken from the experiment") == 2
    assert len(repo.ran) == 3
    after = results(repo)["rows"]
    for name, row in after.items():
        assert row.pop("made")["machine"] is None  # it may have come from elsewhere
        before[name].pop("made")
    assert after == before

    (repo.folder / RESULTS).unlink()
    shutil.rmtree(repo.folder / ".dvc/cache")
    code, out, err = repo.sweep("tiny", "--rows", "sigmoid-b1-s1")
    assert (code, err) == (0, "")
    assert "sigmoid-b1-s1: there is an experiment, but its results can't be read: " in out
    assert len(repo.ran) == 4


def test_a_row_edited_since_is_said_and_runs_again(repo):
    repo.write("experiments/sweeps/tiny.yaml", SWEEP.replace("beta: 1}", "beta: 2}"))
    code, out, err = repo.sweep("tiny", "--rows", "sigmoid-b1-s1")
    assert (code, err) == (0, "")
    assert "sigmoid-b1-s1: edited since it ran (beta 1.0 → 2.0); it runs again" in out
    assert results(repo)["rows"]["sigmoid-b1-s1"]["metrics"]["reward"]["value"] == 3.0
    assert experiments(repo) == ["sigmoid-b1-s1", "sigmoid-b1-s2"]


def test_an_experiment_of_other_code_is_not_taken_up(repo, monkeypatch):
    monkeypatch.chdir(repo.folder)
    row = spec.load("tiny", load_params()).rows[0]
    assert finished.find(row, "HEAD").ref.endswith("/sigmoid-b1-s1")
    repo.write("dvc.yaml", (repo.folder / "dvc.yaml").read_text(encoding="utf-8") + "# more\n")
    repo.commit()
    assert finished.find(row, "HEAD") is None


def test_interrupted_it_leaves_nothing_running_and_a_second_one_is_refused(repo):
    before = (repo.folder / RESULTS).read_bytes()
    process, stages = started_slowly(repo, "fkl-b0.1-s1", "fkl-b0.1-s2")
    code, out, err = repo.sweep("tiny")
    assert (code, out) == (2, "")
    assert err == (
        f"error: sweep: process {process.pid} on {platform.node()} is at it already (it holds "
        ".dvc/tmp/sweeps/lock); wait until it has ended, or end it with `kill` and its number, "
        "then run again to go on where it stopped\n"
    )
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert err == "sweep: interrupted; run it again to go on\n"
    assert len(stages) == 2
    assert not any(map(alive, stages))
    assert folders_of_runs(repo) == []
    assert (repo.folder / RESULTS).read_bytes() == before


def test_killed_it_can_be_run_again(repo):
    process, (stage,) = started_slowly(repo, "fkl-b0.1-s1")
    process.kill()
    process.communicate()
    assert alive(stage)
    assert len(folders_of_runs(repo)) == 1
    code, out, err = repo.sweep("tiny", "--rows", "fkl-b0.1-s1")
    assert (code, err) == (0, "")
    assert "fkl-b0.1-s1: done" in out
    assert not alive(stage)
    assert folders_of_runs(repo) == []
    assert "fkl-b0.1-s1" in results(repo)["rows"]


def without_origin(rows: dict) -> dict:
    return {name: row | {"made": None} for name, row in rows.items()}


def test_rows_side_by_side_give_what_rows_one_after_another_give(first, tmp_path):
    one_by_one, _ = first
    repo = sweep_repo.make(tmp_path)
    code, out, err = repo.sweep("tiny", jobs=2, OMP_NUM_THREADS="1")
    assert (code, err) == (0, "")
    assert re.search(r"\[4/4\] \S+: done in \d+ s; 0 left\n$", out)
    assert sorted(repo.data_ran) == ["1", "2"]  # once for both rows of a seed
    rows = without_origin(results(repo)["rows"])
    assert len(rows) == len(repo.ran) == len(experiments(repo)) == 4
    assert rows.items() >= without_origin(results(one_by_one)["rows"]).items()
    assert folders_of_runs(repo) == []
    assert repo.call("git", "status", "--porcelain") == "?? experiments/results/\n"


@pytest.mark.parametrize("jobs", [1, 2])
def test_data_are_made_once_though_the_committed_ones_are_another_machines(tmp_path, jobs):
    repo = sweep_repo.make(tmp_path)
    params = repo.folder / "params.yaml"
    as_rows_have_it = yaml.safe_load(params.read_text(encoding="utf-8"))
    prepare = as_rows_have_it["studies"]["embedded"]["prepare"]
    prepare |= {"train_prompts": 8, "heldout_prompts": 5}
    params.write_text(yaml.safe_dump(as_rows_have_it), encoding="utf-8")
    repo.call(sys.executable, "-m", "dvc", "repro", "split")
    shutil.rmtree(repo.folder / ".dvc/cache")  # as in a clone from elsewhere
    shutil.rmtree(repo.folder / "data")
    lock = yaml.safe_load((repo.folder / "dvc.lock").read_text(encoding="utf-8"))
    lock["stages"]["split"]["outs"][0]["md5"] = "0123456789abcdef0123456789abcdef.dir"
    repo.write("dvc.lock", yaml.safe_dump(lock))
    repo.commit()
    (repo.control / "data-ran").write_text("")
    code, _, err = repo.sweep("tiny", jobs=jobs)
    assert code == 0, err
    assert sorted(repo.data_ran) == ["1", "2"]
    assert len(results(repo)["rows"]) == 4


def test_rows_share_the_cores(repo):
    environment = {name: v for name, v in repo.environment.items() if name != "OMP_NUM_THREADS"}
    repo = replace(repo, environment=environment)
    code, _, err = repo.sweep("tiny", "--rows", "fkl-b0.1-s1", "fkl-b0.1-s2", jobs=2)
    assert (code, err) == (0, "")
    assert [ran[5] for ran in repo.ran[3:]] == [str(max(1, machine.cores() // 2))] * 2


def test_jobs_below_one_are_refused(repo):
    assert repo.sweep("tiny", jobs=0)[::2] == (2, "error: --jobs = 0: must be at least 1\n")


def test_a_row_whose_experiment_cannot_be_added_is_kept_and_the_file_in_the_way_named(repo):
    commit = repo.call("git", "rev-parse", "HEAD").strip()
    lock = f".git/refs/exps/{commit[:2]}/{commit[2:]}/fkl-b0.1-s1.lock"
    repo.write(lock, "")
    code, out, err = repo.sweep("tiny", "--rows", "fkl-b0.1-s1")
    assert (code, err) == (0, "")
    assert f"{lock}': File exists." in out
    assert "fkl-b0.1-s1" in results(repo)["rows"]


def test_variables_of_a_git_hook_lead_nowhere_else(repo):
    hook = {"GIT_DIR": str(repo.folder / ".git"), "GIT_INDEX_FILE": ".git/other", "GIT_PREFIX": ""}
    code, _, err = repo.sweep("tiny", "--rows", "fkl-b0.1-s1", **hook)
    assert (code, err) == (0, "")
    assert "fkl-b0.1-s1" in results(repo)["rows"]
    assert not (repo.folder / ".git/other").exists()


def test_a_shallow_clone_is_refused_before_anything_runs(repo, tmp_path):
    shallow = replace(repo, folder=tmp_path / "shallow")
    repo.write("more", "so that there is a commit to leave out")
    repo.commit()
    repo.call("git", "clone", "--quiet", "--depth=1", f"file://{repo.folder}", str(shallow.folder))
    code, out, err = shallow.sweep("tiny")
    assert (code, out) == (2, "")
    assert err.startswith("error: this clone is shallow, ")
    assert "`git fetch --unshallow`" in err


def test_a_file_that_would_not_travel_is_named_before_anything_runs(repo, monkeypatch):
    params = (repo.folder / "params.yaml").read_text(encoding="utf-8")
    pairs = "repo: therem/dpo_dataset\n        revision: main\n"
    assert pairs in params
    own = f"path: mine.jsonl\n        sha256: {'a' * 64}\n"
    repo.write("params.yaml", params.replace(pairs, own))
    row = "rows: [{name: sigmoid-b1, loss: sigmoid, beta: 1, alpha: 0.5, lr: 1}]\n"
    repo.write("experiments/sweeps/own.yaml", f"study: imdb-published\nseeds: [1]\n{row}")
    repo.commit()
    repo.write("mine.jsonl", "{}")
    code, out, err = repo.sweep("own")
    assert (code, out) == (2, "")
    assert err.startswith("error: studies.imdb-published.prepare: mine.jsonl is not in the last ")
    repo.call("git", "add", "mine.jsonl")
    repo.commit()
    monkeypatch.chdir(repo.folder)
    finished.check_files(spec.load("own", load_params()).rows, "HEAD")


@pytest.mark.parametrize("text", ["{", '{"rows": []}', "[]", "\xff"])
def test_results_edited_by_hand_are_refused_in_one_line(repo, text):
    (repo.folder / RESULTS).write_text(text, encoding="latin-1")
    code, out, err = repo.sweep("tiny")
    assert (code, out) == (2, "")
    assert err.startswith(f"error: {RESULTS}: ")
    assert err.count("\n") == 1
    assert (repo.folder / RESULTS).read_text(encoding="latin-1") == text


def test_the_error_told_is_the_error():
    unexpected = (
        "ERROR: unexpected error - disk I/O error\n\nHaving any troubles? Hit us up at x!\n"
    )
    assert last_error(unexpected) == "ERROR: unexpected error - disk I/O error"
    failed = "Traceback\nValueError: no\nERROR: failed to reproduce 'train': exited with 1\n"
    assert last_error(failed) == "ValueError: no"
    assert last_error("") == "it printed nothing"


def test_a_row_run_again_is_compared_number_by_number(repo):
    before = experiments(repo)
    code, out, _ = repo.sweep("tiny", "--again", "sigmoid-b1-s1")
    assert code == 0, out
    assert re.match(r"sigmoid-b1-s1: all \d+ values are the same to the last digit", out)
    assert len(repo.ran) == 4  # the cache was not asked
    (repo.control / "noise").write_text("1e-12")
    code, out, _ = repo.sweep("tiny", "--again", "sigmoid-b1-s1")
    assert code == 1
    assert re.match(r"sigmoid-b1-s1: 1 of \d+ values differ: metrics.reward.value\n", out)
    assert experiments(repo) == before


def test_what_cannot_be_run_again_or_is_no_row_is_refused(repo):
    code, _, err = repo.sweep("tiny", "--again", "fkl-b0.1-s1")
    assert code == 2
    assert err.startswith(f"error: row 'fkl-b0.1-s1': not in {RESULTS} as it is;")
    code, _, err = repo.sweep("tiny", "--rows", "fkl-b1-s1")
    assert code == 2
    assert err.startswith("error: row 'fkl-b1-s1': not in tiny; there are sigmoid-b1-s1, ")
    assert os.linesep not in err.strip()
