"""A clone of the last commit that rows run in, and the processes that run there.

`dvc exp run --temp` moves uncommitted work of its folder aside and back, and takes it into the
experiment. In a clone of its own it does neither, whatever the user edits meanwhile.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from experiments.sweep.commands import call, dvc, last_error
from experiments.sweep.spec import RowSpec, as_dvc_arguments
from experiments.verify import path as own_path
from fdpo.run.locks import UNFINISHED

# In the environment of everything a sweep starts, with the user's folder as its value.
MARK = "FDPO_SWEEP"
PATIENCE = 10.0  # seconds that an interrupted run has to end by itself


class RowFailed(Exception):
    """A row did not come to its end; the message is one line."""


@contextmanager
def private_clone(folder: Path) -> Iterator[Path]:
    """A clone of the last commit with the user's DVC cache and unfinished work; removed at the end.

    Raises `UserError` when Git or DVC fail.
    """
    shutil.rmtree(folder, ignore_errors=True)  # of a killed sweep
    call("git", "clone", "--quiet", "--shared", ".", str(folder))
    try:
        local = Path(".dvc/config.local")
        if local.exists():
            shutil.copy(local, folder / local)
        cache = Path(dvc("cache", "dir")).absolute()
        dvc("config", "--local", "cache.dir", str(cache), cwd=folder)
        Path(UNFINISHED).mkdir(exist_ok=True)
        (folder / UNFINISHED).symlink_to(Path(UNFINISHED).absolute())
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def run_row(row: RowSpec, clone: Path, log: Path, force: bool = False) -> float:
    """Run a row in the clone as the experiment `row.experiment`; return the seconds it took.

    What it prints goes to `log` (stdout) and `log`.err. With `force` every stage runs, cached or
    not. Raises `RowFailed` with the last line of stderr. No process of it stays behind.
    """
    command = [sys.executable, "-m", "dvc", "exp", "run", "--temp", "--name", row.experiment]
    command += (["--force"] if force else []) + as_dvc_arguments(row)
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
        raise RowFailed(last_error(errors.read_text(encoding="utf-8", errors="replace")))
    return time.monotonic() - started


def stop_runs() -> None:
    """End what a sweep in this folder left running; kill what is there after `PATIENCE`.

    Only for the holder of the sweep's lock.
    """
    for end in (psutil.Process.terminate, psutil.Process.kill):
        processes = list(_runs())
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                end(process)
        psutil.wait_procs(processes, timeout=PATIENCE)


def _runs() -> Iterator[psutil.Process]:
    """The processes that a sweep in this folder started, and those that they started."""
    mark = str(Path.cwd())
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):  # another user's, or gone
            if process.environ().get(MARK) == mark:
                yield process
