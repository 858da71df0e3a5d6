"""DVC's list of running stages, `.dvc/tmp/rwlock`, which a killed DVC can leave cut short.

Every later `dvc repro` in that clone fails then ("JSON structure is corrupted"). The list is of no
worth without its writer: DVC makes a new one.
"""

import json
from pathlib import Path

from fdpo.core import errors
from fdpo.core.errors import UserError

RWLOCK = Path(".dvc/tmp/rwlock")


def remove_damaged_rwlock() -> None:
    """Remove a damaged list, under the lock that DVC holds while it writes one.

    Raises `UserError` while another DVC command is at work.
    """
    if not _is_damaged():
        return
    from dvc.lock import LockError, make_lock  # takes half a second, and is hardly ever needed

    try:
        with make_lock(f"{RWLOCK}.lock", tmp_dir=str(RWLOCK.parent)):
            if _is_damaged():  # else it was only being written
                RWLOCK.unlink()
                print(f"{RWLOCK}: cut short by a killed run of DVC; removed")
    except LockError:
        raise UserError(
            f"{RWLOCK}: another DVC command is at work; wait until it has ended"
        ) from None


def _is_damaged() -> bool:
    try:
        return not isinstance(json.loads(RWLOCK.read_text(encoding="utf-8")), dict)
    except FileNotFoundError:
        return False
    except ValueError:
        return True


if __name__ == "__main__":
    errors.run(remove_damaged_rwlock)
