"""DVC's lists of what is at work, of stages and of experiments, which a kill can leave cut short.

Every later `dvc repro` or `dvc exp run` in that clone fails then ("JSON structure is corrupted").
Such a list is of no worth without its writer: DVC makes a new one.
"""

import argparse
import json
from pathlib import Path

from fdpo.core import errors
from fdpo.core.errors import UserError

RWLOCKS = (Path(".dvc/tmp/rwlock"), Path(".dvc/tmp/exps/rwlock"))


def remove_damaged_rwlock() -> None:
    """Remove a damaged list, under the lock that DVC holds while it writes one.

    Raises `UserError` while another DVC command is at work.
    """
    for path in RWLOCKS:
        if _is_damaged(path):
            _remove(path)


def _remove(path: Path) -> None:
    from dvc.lock import LockError, make_lock  # takes half a second, and is hardly ever needed

    try:
        with make_lock(f"{path}.lock", tmp_dir=str(path.parent)):
            if _is_damaged(path):  # else it was only being written
                path.unlink()
                print(f"{path}: cut short by a killed run of DVC; removed")
    except LockError:
        raise UserError(
            f"{path}: another DVC command is at work; wait until it has ended"
        ) from None


def _is_damaged(path: Path) -> bool:
    try:
        return not isinstance(json.loads(path.read_text(encoding="utf-8")), dict)
    except FileNotFoundError:
        return False
    except ValueError:
        return True


if __name__ == "__main__":
    argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0]).parse_args()
    errors.run(remove_damaged_rwlock)
