"""One row as a DVC experiment: found, run in a folder of its own, removed."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from experiments.rows import Row, concerning, settings_for_dvc
from experiments.verify import path as own_path
from fdpo import params
from fdpo.errors import UserError

# What decides a run's numbers besides its params.
CODE = ("dvc.yaml", "fdpo", "stages")
# In the environment of everything a sweep starts, with the clone's folder as its value.
MARK = "FDPO_SWEEP"
PATIENCE = 10.0  # seconds that an interrupted run has to end by itself


class RowFailed(Exception):
    """A row did not come to its end; the message is one line."""


@dataclass(frozen=True)
class Experiment:
    """A finished experiment in this repository."""

    commit: str
    ref: str  # refs/exps/, the baseline commit's digits 2/38, its name

    @property
    def baseline(self) -> str:
        """The commit it started from."""
        return "".join(self.ref.split("/")[2:4])


def git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"`git {' '.join(arguments)}` failed: {done.stderr.strip()}")
    return done.stdout.strip()


def same_code(commit: str) -> bool:
    """Whether the pipeline at `commit` is the one in the last commit."""
    command = ["git", "diff", "--quiet", commit, "HEAD", "--", *CODE]
    return subprocess.run(command, check=False).returncode == 0


def params_at(commit: str) -> params.Params:
    """params.yaml as committed."""
    text = git("show", f"{commit}:params.yaml")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "params.yaml")
        file.write_text(text, encoding="utf-8")
        return params.load(file)


def named(name: str) -> list[Experiment]:
    """The experiments of this name from any commit, the newest first."""
    listed = git(
        "for-each-ref",
        "--sort=-committerdate",
        "--format=%(objectname) %(refname)",
        f"refs/exps/??/*/{name}",
    )
    return [Experiment(*line.split()) for line in listed.splitlines()]


def find(row: Row) -> Experiment | None:
    """The newest experiment of the row's name that ran its params with today's code."""
    for experiment in named(row.experiment):
        try:
            settings = params_at(experiment.commit)
        except UserError:  # of an older layout of params.yaml
            continue
        if concerning(settings) == concerning(row.settings) and same_code(experiment.commit):
            return experiment
    return None


def remove(experiment: Experiment) -> None:
    dvc("exp", "remove", experiment.ref)


def dvc(*arguments: str) -> None:
    command = [sys.executable, "-m", "dvc", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"`dvc {' '.join(arguments)}` failed: {last_line(done.stderr)}")


def run(row: Row, log: Path, force: bool = False) -> tuple[Experiment, float]:
    """Run the row as the experiment `row.experiment`; return it with the seconds it took.

    Everything printed goes to `log` (stdout) and `log`.err. With `force` every stage runs, cached
    or not. Raises `RowFailed` with the last line of stderr. However it ends, no process and no
    folder of it stays behind.
    """
    remove_leftovers(row.experiment)
    command = [sys.executable, "-m", "dvc", "exp", "run", "--temp", "--name", row.experiment]
    command += (["--force"] if force else []) + settings_for_dvc(row)
    errors = log.with_name(f"{log.name}.err")
    log.parent.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    with log.open("wb") as out, errors.open("wb") as err:
        # In a session of its own: Ctrl-C reaches the sweep alone, which then ends the whole of it.
        process = subprocess.Popen(
            command, stdout=out, stderr=err, env=environment(), start_new_session=True
        )
        try:
            code = process.wait()
        except BaseException:
            end(process)
            raise
        finally:
            remove_leftovers(row.experiment)
    if code:
        raise RowFailed(last_line(errors.read_text(encoding="utf-8", errors="replace")))
    experiment = find(row)
    if experiment is None:
        raise RowFailed(f"dvc left no experiment {row.experiment} with these params; see {log}")
    return experiment, time.monotonic() - started


def environment() -> dict[str, str]:
    return {**os.environ, "PATH": own_path(), MARK: str(Path.cwd())}


def end(process: subprocess.Popen) -> None:
    """End a run and what it started, by force what has not gone after `PATIENCE`."""
    try:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(PATIENCE)
    except (ProcessLookupError, subprocess.TimeoutExpired):
        pass
    finally:
        stop_orphans()
        process.wait()


def last_line(errors: str) -> str:
    """The last line that says what went wrong: DVC's own last words repeat its exit code."""
    lines = [line.strip() for line in errors.replace("\r", "\n").splitlines() if line.strip()]
    noise = ("ERROR: failed to reproduce", "WARNING:")
    telling = [line for line in lines if not line.startswith(noise)]
    return (telling or lines or ["it printed nothing"])[-1]


def ours() -> Iterator[int]:
    """Processes that a sweep in this folder started. Needs /proc; elsewhere none is found."""
    mark = f"{MARK}={Path.cwd()}".encode()
    for file in Path("/proc").glob("[0-9]*/environ"):
        try:
            if mark in file.read_bytes().split(b"\0"):
                yield int(file.parent.name)
        except OSError:  # another user's, or gone
            continue


def stop_orphans() -> None:
    """Kill what a sweep in this folder left running. Only for the holder of the lock."""
    for pid in ours():
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    deadline = time.monotonic() + PATIENCE
    while any(ours()) and time.monotonic() < deadline:
        time.sleep(0.05)


def remove_leftovers(name: str) -> None:
    """Remove the folders in which runs of this experiment were killed.

    DVC notes each run's name and folder in a .run file, which it never removes.
    """
    for file in Path(".dvc/tmp/exps/standalone/run").glob("*/*.run"):
        try:
            note = json.loads(file.read_text(encoding="utf-8"))
            if note["name"] == name:
                shutil.rmtree(note["root_dir"], ignore_errors=True)
        except (OSError, ValueError, KeyError):
            continue
