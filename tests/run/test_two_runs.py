"""What is recorded is true, whoever changes params.yaml while a stage runs, and whenever."""

import json
import re
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import yaml

from tests.support import two_stage_repo
from tests.support.clone import Clone

pytestmark = pytest.mark.slow

DVC = (sys.executable, "-m", "dvc")
EXP_RUN = " ".join((*DVC, "exp run"))
PATIENCE = 300  # seconds, for a machine that does much else


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Clone:
    return two_stage_repo.make(tmp_path_factory.mktemp("two"))


@pytest.fixture
def clone(finished) -> Clone:
    """The repository as it was: run with beta 0.1 and committed, nothing after its stages."""
    for stage in two_stage_repo.PIPELINE:
        after(finished, stage, "")
    finished.git("checkout", "--force", "main")
    finished.dvc("checkout", "--force")
    return finished


def after(clone: Clone, stage: str, command: str) -> None:
    """Let a shell command run between a stage's end and what DVC does then."""
    (clone.folder.parent / f"after-{stage}").write_text(command, encoding="utf-8")


def run(clone: Clone, *arguments: str) -> subprocess.CompletedProcess[str]:
    return clone.run(*DVC, *arguments)


def ran(printed: str) -> list[str]:
    return re.findall(r"Running stage '(\w+)'", printed)


def results(clone: Clone) -> tuple[float, float, float]:
    """Beta in params.yaml, of the policy and of the metrics."""
    return (
        yaml.safe_load(clone.bytes("params.yaml"))["beta"],
        json.loads(clone.bytes("models/policy/objective.json"))["beta"],
        json.loads(clone.bytes("results/metrics.json"))["reward"],
    )


def rows(clone: Clone) -> list[tuple[float, float]]:
    """Beta and metric of every experiment, as `dvc exp show` has them."""
    shown = json.loads(clone.dvc("exp", "show", "--json"))
    experiments = [row["revs"][0] for state in shown for row in state["experiments"] or []]
    return [
        (
            row["data"]["params"]["params.yaml"]["data"]["beta"],
            row["data"]["metrics"]["results/metrics.json"]["data"]["reward"],
        )
        for row in experiments
    ]


@pytest.mark.parametrize("stage", two_stage_repo.PIPELINE)
@pytest.mark.parametrize("first", [("exp", "run", "-S", "beta=0.3"), ("repro", "--force")])
def test_a_second_run_is_refused_before_it_changes_anything(clone, first, stage):
    """Where it would do most harm: when a stage has ended and DVC is about to read params.yaml."""
    second = clone.folder.parent / "second"
    after(clone, stage, f"{EXP_RUN} -S beta=0.5 > {second} 2>&1; true")
    done = run(clone, *first)
    assert done.returncode == 0, done.stderr
    refused = second.read_text(encoding="utf-8")
    assert "ERROR: 'workspace' is busy, it is being blocked by" in refused
    assert re.search(rf"\(PID \d+\): dvc {' '.join(first)} \(process \d+\)", refused)
    beta = 0.3 if first[0] == "exp" else 0.1
    assert results(clone) == (beta, beta, beta)
    assert all(beta == metric for beta, metric in rows(clone))


def test_when_the_first_has_ended_the_next_runs_at_once(clone):
    clone.dvc("repro", "--force")
    printed = clone.dvc("exp", "run", "-S", "beta=0.4")
    assert "had been killed" not in printed
    assert results(clone) == (0.4, 0.4, 0.4)
    clone.dvc("exp", "run", "-S", "beta=0.45")
    assert results(clone) == (0.45, 0.45, 0.45)


def test_a_command_that_its_parent_has_not_yet_looked_after_has_ended(clone):
    command = clone.start("repro", "--force")
    deadline = time.monotonic() + PATIENCE
    while psutil.Process(command.pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    clone.dvc("exp", "run", "-S", "beta=0.37")
    assert results(clone) == (0.37, 0.37, 0.37)
    command.communicate()


@pytest.mark.parametrize("command", [("repro",), ("exp", "run", "-S", "beta=9")])
def test_a_stage_that_refuses_says_how_its_outputs_come_back(clone, command):
    before = clone.bytes("models/policy/objective.json")
    if command == ("repro",):
        path = clone.folder / "params.yaml"
        path.write_text(path.read_text().replace("beta: 0.1", "beta: 9"))
    done = run(clone, *command)
    assert done.returncode
    assert not (clone.folder / "models/policy").exists()
    assert "beta = 9: too many" in done.stderr
    told = "models/policy: removed by DVC before it ran train; `dvc checkout models/policy`"
    assert told in done.stderr
    clone.dvc("checkout", "models/policy")
    assert clone.bytes("models/policy/objective.json") == before


def test_a_killed_command_gives_the_workspace_back(clone):
    reached = clone.folder.parent / "train-has-ended"
    reached.unlink(missing_ok=True)
    after(clone, "train", f"touch {reached}; sleep 100")
    command = clone.start("repro", "--force")
    deadline = time.monotonic() + PATIENCE
    while not reached.exists():  # so that no list of DVC's is being written when the kill comes
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert "dvc repro --force" in (clone.folder / ".dvc/tmp/exps/rwlock").read_text()
    children = psutil.Process(command.pid).children(recursive=True)
    command.kill()
    command.communicate()
    for process in psutil.wait_procs(children, timeout=5)[1]:  # the orphaned stage
        process.kill()
    after(clone, "train", "")
    clone.dvc("exp", "run", "-S", "beta=0.35")
    assert results(clone) == (0.35, 0.35, 0.35)


@pytest.mark.parametrize("following", ["repro", "back", "again"])
def test_an_edit_between_the_end_of_train_and_its_record_heals_itself(clone, following):
    """By hand, as no `dvc exp run` gets there: one value's policy is recorded as the other's."""
    number = ["repro", "back", "again"].index(following)  # so that nothing is cached
    trained, edited = 0.6 + number, 0.7 + number
    after(clone, "train", f"sed -i 's/beta: .*/beta: {edited}/' params.yaml")
    failed = run(clone, "exp", "run", "-S", f"beta={trained}")
    after(clone, "train", "")
    assert failed.returncode != 0
    disagreement, removed, restore = [
        line for line in failed.stderr.splitlines() if line.strip().startswith("error:")
    ]
    assert f"trained with {trained}, but params.yaml has {edited}" in disagreement
    assert removed.startswith("error: dvc.lock: its record of train was untrue and is removed")
    assert "before it ran evaluate; `dvc checkout results/samples.json` restores it" in restore
    assert "train" not in yaml.safe_load(clone.bytes("dvc.lock"))["stages"]

    if following == "repro":
        printed, beta = clone.dvc("repro"), edited
    elif following == "again":
        printed, beta = clone.dvc("exp", "run", "-S", f"beta={edited}"), edited
    else:
        printed, beta = clone.dvc("exp", "run", "-S", f"beta={trained}"), trained
    assert ran(printed)[-2:] == ["train", "evaluate"]
    assert results(clone) == (beta, beta, beta)
    for other in (trained, edited):
        clone.dvc("exp", "run", "-S", f"beta={other}")
        assert results(clone) == (other, other, other)
    assert all(beta == metric for beta, metric in rows(clone))


def test_a_true_record_is_kept_where_params_have_moved_on(clone):
    before = clone.bytes("dvc.lock")
    cached = sorted(Path(clone.folder, ".dvc/cache/runs").rglob("*"))
    (clone.folder / "params.yaml").write_text("study: mine\nbeta: 0.9\n", encoding="utf-8")
    failed = run(clone, "repro", "--single-item", "evaluate")
    assert failed.returncode != 0
    assert "trained with 0.1, but params.yaml has 0.9" in failed.stderr
    assert "untrue" not in failed.stderr
    assert clone.bytes("dvc.lock") == before
    assert sorted(Path(clone.folder, ".dvc/cache/runs").rglob("*")) == cached


def test_a_study_that_was_edited_after_the_check_heals_itself(clone):
    after(clone, "check", "sed -i 's/study: .*/study: other/' params.yaml")
    (clone.folder / "params.yaml").write_text("study: third\nbeta: 0.1\n", encoding="utf-8")
    failed = run(clone, "repro")
    after(clone, "check", "")
    assert failed.returncode != 0
    assert "study = other, but this run began with third" in failed.stderr
    assert "its record of check was untrue and is removed" in failed.stderr
    clone.dvc("repro")
    assert json.loads(clone.bytes("data/study.json")) == {"study": "other"}
