"""One process per stage or sweep: locks that end with their holder, however it ends.

Two things must not be written by two processes at once. A stage's outputs lie in the workspace,
so `run` locks the stage there: `dvc exp run --temp` has a workspace of its own and is not held up.
Its unfinished work lies in the repository, which `--temp` runs share, in a folder that is named
after params, data and code: `fdpo.run.resume` locks that folder, so the same run is never continued
twice, while other experiments run beside it.
"""

import argparse
import errno
import os
import platform
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout

from fdpo.core import errors
from fdpo.core.errors import UserError
from fdpo.run.dvc_cache import require_cache
from fdpo.run.dvc_records import restorable
from fdpo.run.steady_params import steady_params
from fdpo.run.workspace_claim import claim_workspace

UNFINISHED = ".ckpt"  # ignored by Git, and outside of DVC's outputs
SECONDS = 0.5  # for which a taken lock is tried: its holder may be about to release it
POLL = 0.02  # seconds between two tries
# What file systems answer that have no `flock`; some clusters' shared disks do.
_NO_FLOCK = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}


def run(stage: str, main: Callable[[], None]) -> None:
    """Call a stage's `main` as `errors.run` does, alone in this workspace, with steady params.

    With `--help` the script says what the stage does; any other argument is refused.
    """

    def alone() -> None:
        _take_no_arguments(stage)
        is_first = claim_workspace()
        with (
            exclusive_lock(Path(UNFINISHED, f"{stage}.lock"), stage),
            restorable(stage),
            steady_params(stage),
        ):
            if is_first:
                require_cache()
            main()

    errors.run(alone)


def _take_no_arguments(stage: str) -> None:
    script = sys.modules["__main__"]
    if script.__spec__ is None or script.__spec__.name != f"stages.{stage}":
        return  # the arguments are those of a program that calls it
    argparse.ArgumentParser(
        prog=f"stages.{stage}",
        description=(script.__doc__ or "").split("\n\n")[0],
        epilog="It reads params.yaml and takes no arguments; `dvc repro` runs it when needed.",
    ).parse_args()


@contextmanager
def exclusive_lock(path: Path, work: str) -> Iterator[None]:
    """Hold the lock at `path` while the block runs, for `work`, as an error message names it.

    The kernel frees the lock of a process that was killed. Where the file system has no `flock`,
    the file itself is the lock, and that of a process that has ended on this machine is taken over.
    Of several processes that torchrun started for one stage the first holds the lock for all.

    Raises:
        UserError: another process holds the lock, or `path` is a symbolic link.
    """
    if os.environ.get("RANK", "0") != "0":
        yield
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = _acquired(path, work)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        lock.release()


def _acquired(path: Path, work: str) -> BaseFileLock:
    lock = FileLock(
        path, SECONDS, poll_interval=POLL, on_acquired=_write_holder, fallback_to_soft=False
    )
    try:
        lock.acquire()
        return lock
    except Timeout:
        raise UserError(_refusal(path, work)) from None
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise UserError(f"{path}: a symbolic link, which no lock can be; remove it") from None
        if error.errno not in _NO_FLOCK:
            error.filename = str(path)  # not the absolute one
            raise
    existing = path.with_suffix(".exists")  # as `path` may be there without being held
    soft = SoftFileLock(existing, SECONDS, poll_interval=POLL)
    try:
        soft.acquire()
        return soft
    except Timeout:
        gone = f"; if that machine is gone, remove {existing}"
        raise UserError(_refusal(existing, work) + gone) from None


def _refusal(path: Path, work: str) -> str:
    return (
        f"{work}: {_holder(path)} is at it already (it holds {path}); wait until it has ended,"
        " or end it with `kill` and its number, then run again to go on where it stopped"
    )


def _write_holder(descriptor: int) -> None:
    """Say in the lock's file who holds it, in the form that `SoftFileLock` uses."""
    os.truncate(descriptor, 0)
    os.write(descriptor, f"{os.getpid()}\n{platform.node()}\n".encode())


def _holder(path: Path) -> str:
    try:
        process, machine, *_ = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):  # it is gone, or has not said who it is
        return "another process"
    return f"process {process} on {machine}"
