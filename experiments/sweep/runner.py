"""Rows as DVC experiments: found where they are finished, run in a private clone."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from experiments.sweep.spec import Row, concerning, settings_for_dvc
from experiments.verify import path as own_path
from fdpo.config.params import Params
from fdpo.core.errors import UserError
from fdpo.run.settings import load_params

# What decides a run's numbers besides its params.
CODE = ["dvc.yaml", "fdpo", "stages"]
# In the environment of everything a sweep starts, with the user's folder as its value.
MARK = "FDPO_SWEEP"
PATIENCE = 10.0  # seconds that an interrupted run has to end by itself


class RowFailed(Exception):
    """A row did not come to its end; the message is one line."""


@dataclass(frozen=True)
class Experiment:
    """A finished experiment."""

    commit: str
    ref: str  # refs/exps/, the baseline commit's digits 2/38, its name

    @property
    def baseline(self) -> str:
        """The commit it started from."""
        return "".join(self.ref.split("/")[2:4])


def call(*command: str, cwd: str | Path = ".") -> str:
    """What a command prints. Raises `UserError` with its last words when it fails."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"`{' '.join(command)}` failed: {last_line(done.stderr)}")
    return done.stdout.strip()


def last_line(errors: str) -> str:
    """The last line that says what went wrong: DVC's own last words repeat its exit code."""
    lines = [line.strip() for line in errors.replace("\r", "\n").splitlines() if line.strip()]
    noise = ("ERROR: failed to reproduce", "WARNING:")
    telling = [line for line in lines if not line.startswith(noise)]
    return (telling or lines or ["it printed nothing"])[-1]


def params_at(commit: str) -> Params:
    """params.yaml as committed."""
    text = call("git", "show", f"{commit}:params.yaml")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "params.yaml")
        file.write_text(text + "\n", encoding="utf-8")
        return load_params(file)


def find(row: Row, commit: str) -> Experiment | None:
    """The newest experiment of the row's name that ran its params with the code of `commit`."""
    for experiment in named(row.experiment):
        try:
            settings = params_at(experiment.commit)
        except UserError:  # of an older layout of params.yaml
            continue
        same_params = concerning(settings) == concerning(row.settings)
        if same_params and not changed(CODE, experiment.commit, commit):
            return experiment
    return None


def named(name: str) -> list[Experiment]:
    """The experiments of this name from any commit, the newest first."""
    form = "--format=%(objectname) %(refname)"
    listed = call("git", "for-each-ref", "--sort=-committerdate", form, f"refs/exps/??/*/{name}")
    return [Experiment(*line.split()) for line in listed.splitlines()]


def changed(paths: list[str], *commits: str) -> list[str]:
    """Files at these paths that differ between two commits, or one and the user's folder."""
    return call("git", "diff", "--name-only", *commits, "--", *paths).splitlines()


@contextmanager
def private_clone(folder: Path) -> Iterator[Path]:
    """A clone of the last commit, with the user's DVC cache and checkpoints; removed at the end.

    `dvc exp run --temp` moves uncommitted work of its folder aside and back, and takes it into the
    experiment. In a clone of its own it does neither, whatever the user edits meanwhile.
    """
    shutil.rmtree(folder, ignore_errors=True)  # of a killed sweep
    call("git", "clone", "--quiet", "--shared", ".", str(folder))
    try:
        local = Path(".dvc/config.local")
        if local.exists():
            shutil.copy(local, folder / local)
        cache = dvc("cache", "dir")
        dvc("config", "--local", "cache.dir", str(Path(cache).absolute()), cwd=folder)
        Path(".ckpt").mkdir(exist_ok=True)
        (folder / ".ckpt").symlink_to(Path(".ckpt").absolute())
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def dvc(*arguments: str, cwd: str | Path = ".") -> str:
    return call(sys.executable, "-m", "dvc", *arguments, cwd=cwd)


def run(row: Row, clone: Path, log: Path, force: bool = False) -> tuple[Experiment, float]:
    """Run the row in the clone as the experiment `row.experiment`; also the seconds it took.

    What it prints goes to `log` (stdout) and `log`.err. With `force` every stage runs, cached or
    not. Raises `RowFailed` with the last line of stderr. No process of it stays behind.
    """
    command = [sys.executable, "-m", "dvc", "exp", "run", "--temp", "--name", row.experiment]
    command += (["--force"] if force else []) + settings_for_dvc(row)
    environment = {**os.environ, "PATH": own_path(), MARK: str(Path.cwd())}
    errors = log.with_name(f"{log.name}.err")
    log.parent.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    with log.open("wb") as out, errors.open("wb") as err:
        # In a session of its own: Ctrl-C reaches the sweep alone, which then ends the whole of it.
        process = subprocess.Popen(
            command, cwd=clone, stdout=out, stderr=err, env=environment, start_new_session=True
        )
        try:
            code = process.wait()
        except BaseException:
            stop_runs()
            process.wait()
            raise
    if code:
        raise RowFailed(last_line(errors.read_text(encoding="utf-8", errors="replace")))
    seconds = time.monotonic() - started
    baseline = call("git", "rev-parse", "HEAD", cwd=clone)
    ref = f"refs/exps/{baseline[:2]}/{baseline[2:]}/{row.experiment}"
    return Experiment(call("git", "rev-parse", ref, cwd=clone), ref), seconds


def keep(experiment: Experiment, clone: Path) -> None:
    """Bring the experiment to the user's repository, in place of one of its name and commit."""
    call("git", "fetch", "--quiet", str(clone), f"+{experiment.ref}:{experiment.ref}")


def running() -> list[int]:
    """Processes that a sweep in this folder started. Needs /proc; elsewhere none is found."""
    mark = f"{MARK}={Path.cwd()}".encode()
    found = []
    for file in Path("/proc").glob("[0-9]*/environ"):
        try:
            if mark in file.read_bytes().split(b"\0"):
                found.append(int(file.parent.name))
        except OSError:  # another user's, or gone
            continue
    return found


def stop_runs() -> None:
    """End what a sweep in this folder left running; kill what is there after `PATIENCE`.

    Only for the holder of the lock.
    """
    for number in (signal.SIGTERM, signal.SIGKILL):
        for pid in running():
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue
        deadline = time.monotonic() + PATIENCE
        while running() and time.monotonic() < deadline:
            time.sleep(0.05)
