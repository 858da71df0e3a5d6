"""DVC's cache, looked at before hours of work that could not be put into it.

DVC meets it only when a stage has ended. One that is set up and not there, as after a move, it
makes anew at its old place, empty, and then runs everything again.
"""

import os
from pathlib import Path

from fdpo.core.errors import UserError


def require_cache() -> None:
    """Raise `UserError` where DVC's cache was set up and is gone, or cannot be written to."""
    from dvc.config import Config  # takes a third of a second, once in a command

    named = Config.from_cwd()["cache"].get("dir")
    cache = Path(named or ".dvc/cache")
    if named and not cache.is_dir():
        raise UserError(
            f"{cache}: DVC's cache is set up to be there, and is not; run `dvc cache dir --local"
            f" FOLDER` with where it is now, or `mkdir -p {cache}` where it is to be new"
        )
    nearest = next(path for path in (cache, *cache.absolute().parents) if path.exists())
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise UserError(
            f"{cache}: DVC's cache, which cannot be written to; give yourself the right to, or name"
            " another folder: `dvc cache dir --local FOLDER`"
        )
