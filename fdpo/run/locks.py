"""One process a stage or sweep: locks that the kernel frees when their holder ends in any way.

Two things must not be written by two processes at once. A stage's outputs lie in the workspace,
so `run` locks the stage there: `dvc exp run --temp` has a workspace of its own and is not held up.
Its unfinished work lies in the repository, which `--temp` runs share, in a folder that is named
after params, data and code: `fdpo.run.resume` locks that folder, so the same run is never continued
twice, while other experiments go on beside it.
"""

import fcntl
import os
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from fdpo.core import errors
from fdpo.core.errors import UserError

UNFINISHED = ".ckpt"  # in Git's ignored files, outside of DVC's outputs


def run(stage: str, main: Callable[[], None]) -> None:
    """Call a stage's `main` as `errors.run` does, alone in this workspace."""

    def alone() -> None:
        with held(Path(UNFINISHED, f"{stage}.lock"), stage):
            main()

    errors.run(alone)


@contextmanager
def held(path: Path, name: str) -> Iterator[None]:
    """Hold the lock at `path` for the block, which `name` is the work of.

    Raises `UserError` while another process holds it. The file that a killed process leaves behind
    is unlocked, and is taken over. Of several processes that torchrun started for one stage the
    first holds the lock for all.
    """
    if os.environ.get("RANK", "0") != "0":
        yield
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = _locked(path, name)
    try:
        os.truncate(descriptor, 0)
        os.write(descriptor, f"process {os.getpid()} on {platform.node()}".encode())
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def _locked(path: Path, name: str) -> int:
    """An open descriptor of the file now at `path`, locked."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 200).decode() or "another process"
            os.close(descriptor)
            raise UserError(
                f"{name}: {holder} is at it already (it holds {path}); wait until it has ended,"
                " or end it with `kill` and its number, then run again to go on where it stopped"
            ) from None
        # Its last holder may have removed it between the two calls: then it locks nothing.
        if path.exists() and os.path.samestat(os.fstat(descriptor), path.stat()):
            return descriptor
        os.close(descriptor)
