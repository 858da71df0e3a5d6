"""Stages killed in `dvc repro` and in `dvc exp run --temp`, and DVC itself killed."""

import contextlib
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from fdpo.run.resume import FINISHED
from tests.support.clone import Clone
from tests.support.trials import ATTEMPTS, SIGNALS, Outcome, Workspace, unfinished

DVC = (sys.executable, "-m", "dvc")
DVC_SECONDS = 15  # that a command of DVC takes beside its stages, on a busy machine


def commit(workspace: Workspace) -> None:
    """Tell DVC and Git that the workspace's stages have run."""
    clone = _clone(workspace)
    clone.dvc("commit", "--force", "--quiet")
    clone.git("add", "--all")
    clone.git("commit", "--quiet", "--message=run")


def each(workspace: Workspace, stage: str, draws: random.Random) -> Iterator[Outcome]:
    """The stage, and DVC, killed with each signal, in `dvc repro` and in `dvc exp run --temp`."""
    for name in SIGNALS:
        for temp in (False, True):
            for victim in ("stage", "DVC")[: 1 if name == "SIGINT" else 2]:  # it reaches both
                yield trial(workspace, stage, name, victim, temp, draws)


def trial(
    workspace: Workspace, stage: str, name: str, victim: str, temp: bool, draws: random.Random
) -> Outcome:
    """Kill a stage that DVC runs, or DVC; what runs next ends with the same bytes.

    Ctrl-C reaches both, as in a terminal. A DVC that was killed leaves the stage running: then the
    next run is refused, in a line that names the process, until that is ended.
    """
    for _ in range(ATTEMPTS):
        dvc = _start(workspace, stage, temp)
        process = process_at_work(workspace.unfinished, stage)
        after = draws.uniform(0, workspace.seconds[stage])
        time.sleep(after)
        if name == "SIGINT":
            os.killpg(dvc.pid, signal.SIGINT)
        else:
            with contextlib.suppress(ProcessLookupError):  # it is done already
                os.kill(dvc.pid if victim == "DVC" else process, SIGNALS[name])
        code = dvc.wait()
        if code != 0:  # else all was done before the signal came
            break
    else:
        raise AssertionError(f"{stage}: {name} of {victim} did not end it in {ATTEMPTS} attempts")
    refused = _end_orphan(workspace, stage, temp, process)
    had = unfinished(workspace.unfinished, stage)
    again = _start(workspace, stage, temp)
    printed, _ = again.communicate()
    assert again.returncode == 0, printed
    assert ("goes on" in printed) == bool(had), printed
    _compare(workspace, stage, temp, printed)
    where = "--temp" if temp else "repro"
    who = "Ctrl-C" if name == "SIGINT" else f"{name} of {victim}"
    how = f"{who} in {where}" + (", orphan named" if refused else "")
    return Outcome(stage, how, after, had, bool(had))


def chain(workspace: Workspace, stage: str, draws: random.Random) -> Outcome:
    """Kill `dvc repro` two to four times in a row, wherever it is; then it ends as ever.

    Each time DVC and the stage are killed at once, as when a machine is switched off. What a kill
    did to DVC's own lists is repaired as `make repro` does it.
    """
    clone = _clone(workspace)
    kills = draws.randint(2, 4)
    for _ in range(kills):
        dvc = _start(workspace, stage, temp=False)
        after = draws.uniform(0, workspace.seconds[stage] + DVC_SECONDS)
        with contextlib.suppress(subprocess.TimeoutExpired):  # else it was done before the kill
            dvc.communicate(timeout=after)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(dvc.pid, signal.SIGKILL)
        dvc.communicate()
    had = unfinished(workspace.unfinished, stage)
    repaired = clone.run(sys.executable, "-m", "fdpo.run.dvc_rwlock")
    assert repaired.returncode == 0, repaired.stderr
    again = _start(workspace, stage, temp=False)
    printed, _ = again.communicate()
    assert again.returncode == 0, printed
    _compare(workspace, stage, False, printed)
    return Outcome(stage, f"{kills} kills of DVC in a row", after, had, bool(had))


def _clone(workspace: Workspace) -> Clone:
    return Clone(workspace.folder, workspace.environment)


def _start(workspace: Workspace, stage: str, temp: bool) -> subprocess.Popen:
    command = ("exp", "run", "--temp") if temp else ("repro",)
    return _clone(workspace).start(*command, "--force", "--single-item", stage)


def process_at_work(unfinished: Path, stage: str) -> int:
    """The process that is at the stage's work, as soon as there is one."""
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        for path in _locks(unfinished, stage):
            found = re.match(r"(\d+)\n", _read(path))
            if found and _alive(int(found[1])):  # not what an earlier trial left
                return int(found[1])
        time.sleep(0.01)
    raise AssertionError(f"{stage} did not start in 300 s")


def _locks(unfinished: Path, stage: str) -> list[Path]:
    return list(unfinished.glob(f"{stage}-*.lock"))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""


def _end_orphan(workspace: Workspace, stage: str, temp: bool, holder: int) -> bool:
    """If the stage outlived DVC: the next run must be refused and name it; then end it."""
    if not _alive(holder):
        return False
    os.kill(holder, signal.SIGSTOP)  # so that it cannot end meanwhile
    locks = _locks(workspace.unfinished, stage)
    if not any(_read(path).startswith(f"{holder}\n") for path in locks):
        os.kill(holder, signal.SIGKILL)  # it was done, and on its way out
        return False
    beside = _start(workspace, stage, temp)
    printed, _ = beside.communicate()
    os.kill(holder, signal.SIGKILL)
    while _alive(holder):
        time.sleep(0.01)
    assert beside.returncode != 0, printed
    assert f"error: {stage}: process {holder} on " in printed, printed
    assert "Traceback" not in printed
    return True


def _alive(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state.split()[0] != "Z"


def _compare(workspace: Workspace, stage: str, temp: bool, printed: str) -> None:
    """Outputs in the workspace, or the hashes of them in the experiment's dvc.lock."""
    assert all(path.suffix == FINISHED for path in workspace.unfinished.iterdir())
    if not temp:
        assert workspace.written(stage) == workspace.expected[stage], f"{stage}: other bytes"
        return
    clone = _clone(workspace)
    (name,) = re.findall(r"Ran experiment\(s\): (\S+)", printed)
    refs = clone.git("for-each-ref", "--format=%(refname)", "refs/exps").split()
    (ref,) = [ref for ref in refs if ref.endswith(f"/{name}")]
    assert clone.git("show", f"{ref}:dvc.lock") == clone.git("show", "HEAD:dvc.lock")
