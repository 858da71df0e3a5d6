"""Clones of the last commit that rows run in, and ending what runs there.

`dvc exp run --temp` moves uncommitted work of its folder aside and back, and takes it into the
experiment. In a clone of its own it does neither, whatever the user edits meanwhile.

The committed dvc.lock may be of a machine whose last digits differ, so that its outputs are in no
cache here. Where a stage's inputs are as such a record says, DVC looks for those outputs alone and
runs the stage for every row, though its run cache has what the first row made. So a clone begins
without the records whose outputs are not there.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from experiments.sweep.commands import call, dvc
from fdpo.core.errors import UserError
from fdpo.core.local_files import SWEEP_FOLDER
from fdpo.run.locks import UNFINISHED

SCRATCH = Path(".dvc/tmp/sweeps")  # DVC keeps its tmp out of Git
PATIENCE = 10.0  # seconds that an interrupted run has to end by itself


@contextmanager
def private_clones(folder: Path, count: int) -> Iterator[list[Path]]:
    """Clones of the last commit in `folder`, with the user's DVC cache and unfinished work.

    `folder` is removed at the end. Raises `UserError` when Git or DVC fail, or where the user's
    repository is shallow: DVC loses experiments in a clone of it.
    """
    if call("git", "rev-parse", "--is-shallow-repository") == "true":
        raise UserError(
            "this clone is shallow, and DVC loses the experiments that run in such a one; run"
            " `git fetch --unshallow` first"
        )
    shutil.rmtree(folder, ignore_errors=True)  # of a killed sweep
    try:
        yield [_clone(folder / str(number)) for number in range(1, count + 1)]
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _clone(folder: Path) -> Path:
    call("git", "clone", "--quiet", "--shared", ".", str(folder))
    local = Path(".dvc/config.local")
    if local.exists():
        shutil.copy(local, folder / local)
    cache = Path(dvc("cache", "dir")).absolute()
    dvc("config", "--local", "cache.dir", str(cache), cwd=folder)
    Path(UNFINISHED).mkdir(exist_ok=True)
    (folder / UNFINISHED).symlink_to(Path(UNFINISHED).absolute())
    _forget_uncached(folder)
    return folder


def _forget_uncached(folder: Path) -> None:
    """Remove from dvc.lock the records of stages that have an output which the cache lacks."""
    from dvc.dvcfile import Lockfile
    from dvc.repo import Repo, lock_repo

    with Repo(str(folder)) as repo, lock_repo(repo):
        for stage in list(repo.index.stages):
            if any(out.use_cache and out.changed_cache() for out in stage.outs):
                Lockfile(repo, str(folder / "dvc.lock")).remove_stage(stage)


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
            if process.environ().get(SWEEP_FOLDER) == mark:
                yield process
