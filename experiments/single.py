"""One sweep at a time in a clone."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fdpo.errors import UserError


@contextmanager
def only_sweep(path: Path) -> Iterator[None]:
    """Hold the lock file while the block runs; the system frees it when the process dies.

    Raises `UserError` with the process id when another process holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise UserError(
                f"a sweep is running in this clone (process {file.read().strip()}); "
                "wait for its end or interrupt it"
            ) from None
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield
