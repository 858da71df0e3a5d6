"""Files and folders of the user's own that a study names, wherever its stages run.

`dvc exp run --temp` and sweeps run in a copy of the repository that untracked files don't travel
into. There a path that is not in the copy means the one in the folder that the user works in.
"""

import contextlib
import hashlib
import os
import time
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import TypeAdapter, ValidationError

from fdpo.core.errors import UserError
from fdpo.core.files import read_json, sha256, write_json

# In the environment of everything that a sweep starts, with the user's folder as its value.
SWEEP_FOLDER = "FDPO_SWEEP"
LARGE = 64 * 2**20  # bytes, which take a tenth of a second to read
MEMORY = ".dvc/tmp/sha256.json"  # of large files; Git and DVC leave this folder out
SETTLED = 2 * 10**9  # nanoseconds: the coarsest clock of a file system, FAT's


def local_files(path: str) -> dict[str, Path]:
    """The file at `path` under its name, or the files of the folder there, by name.

    Hidden files and folders within the folder are left out. Raises `UserError` where there is
    nothing, or only an empty folder, or the locale has not the name's letters.
    """
    try:
        os.fsencode(path)
    except UnicodeEncodeError:
        raise UserError(
            f"{path}: a name that Python cannot write under this locale; set PYTHONUTF8=1, or a"
            " UTF-8 locale such as LC_ALL=C.UTF-8"
        ) from None
    roots = [Path(root) for name in ("DVC_ROOT", SWEEP_FOLDER) if (root := os.environ.get(name))]
    files: dict[str, Path] = {}
    for candidate in [Path(path), *(root / path for root in roots)]:
        inside = sorted(candidate.iterdir()) if candidate.is_dir() else [candidate]
        for file in inside:
            if file.is_file() and not file.name.startswith("."):
                files.setdefault(file.name, file)
    if not files:
        raise UserError(
            f"{path}: missing or empty; name a file or folder that is there, or a repo of the Hub"
        )
    return files


def local_file(path: str) -> Path:
    """Where the file is that a study names `path`. Raises `UserError` where there is none."""
    file = local_files(path).get(PurePosixPath(path).name)
    if file is None:
        raise UserError(f"{path}: a folder; name a file")
    return file


def sha256_of(path: str) -> str:
    """The sha256 of a file, or of the list of a folder's files with theirs, as `sha256sum` has it.

    Raises `UserError` where there is nothing.
    """
    sums = {name: _sha256(file) for name, file in local_files(path).items()}
    if list(sums) == [PurePosixPath(path).name]:
        return sums[PurePosixPath(path).name]
    lines = "".join(f"{digest}  {name}\n" for name, digest in sorted(sums.items()))
    return hashlib.sha256(lines.encode()).hexdigest()


def require_portable(path: str) -> None:
    """Raise `UserError` for a path that leads out of the repository: dvc.lock would tell it.

    A link to a folder is refused too, as DVC does not watch what it leads to.
    """
    pure = PurePosixPath(path)
    if pure.is_absolute() or pure.parts[:1] == ("~",) or ".." in pure.parts:
        raise UserError(
            f"{path}: must be a path within this folder, as dvc.lock, which others read, names it;"
            f" run `mkdir -p inputs && cp -rs {path} inputs/` and write inputs/{pure.name}"
        )
    for part in [pure, *pure.parents]:
        if Path(part).is_symlink() and Path(part).is_dir():
            raise UserError(
                f"{part}: a link to a folder, which DVC does not watch; put a folder with links to"
                f" its files in its place: `cp -rs {os.readlink(part)} NEW`"
            )


def _sha256(file: Path) -> str:
    """Of a large file it is remembered as long as size, times and inode stay as they are.

    What DVC itself goes by is the same, less the time that the inode changed, which `cp -p` and
    `touch -d` cannot set back. A file written to a moment ago is not remembered: a second change
    might leave the clock's tick as it was.
    """
    if file.stat().st_size < LARGE:
        return sha256(file)
    memory = Path(os.environ.get("DVC_ROOT", "."), MEMORY)
    key, state = str(file.resolve()), _state(file)
    known = _remembered(memory)
    if key in known and known[key][:-1] == state:
        return known[key][-1]
    settled = time.time_ns() - max(state[1:3]) > SETTLED
    digest = sha256(file)
    if settled and _state(file) == state and memory.parent.is_dir():
        with contextlib.suppress(OSError):  # a full or read-only disk; it is read again next time
            write_json(memory, known | {key: [*state, digest]})
    return digest


def _state(file: Path) -> list[int]:
    status = file.stat()
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]


def _remembered(memory: Path) -> dict[str, list[Any]]:
    """By file, its state and sha256; nothing where the memory is missing or damaged."""
    try:
        return TypeAdapter(dict[str, list[Any]]).validate_python(read_json(memory))
    except (UserError, OSError, ValidationError):
        return {}
