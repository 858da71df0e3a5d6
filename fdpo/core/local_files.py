"""Local files and folders that a study names, wherever its stages run.

`dvc exp run --temp` and sweeps run in a copy of the repository that untracked files don't travel
into. There a path that is not in the copy means the one in the folder that the user works in.
"""

import hashlib
import os
from pathlib import Path, PurePosixPath

from fdpo.core.errors import UserError
from fdpo.core.files import sha256

# In the environment of everything that a sweep starts, with the user's folder as its value.
SWEEP_FOLDER = "FDPO_SWEEP"


def local_files(path: str) -> dict[str, Path]:
    """The file at `path` under its name, or the files of the folder there, by name.

    Hidden files and folders within the folder are left out. Raises `UserError` where there is
    nothing, or only an empty folder.
    """
    roots = [Path(root) for name in ("DVC_ROOT", SWEEP_FOLDER) if (root := os.environ.get(name))]
    files: dict[str, Path] = {}
    for place in [Path(path), *(root / path for root in roots)]:
        for file in sorted(place.iterdir()) if place.is_dir() else [place]:
            if file.is_file() and not file.name.startswith("."):
                files.setdefault(file.name, file)
    if not files:
        raise UserError(f"{path}: missing or empty; name a file or folder that is there")
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
    sums = {name: sha256(file) for name, file in local_files(path).items()}
    if list(sums) == [PurePosixPath(path).name]:
        return next(iter(sums.values()))
    lines = "".join(f"{digest}  {name}\n" for name, digest in sorted(sums.items()))
    return hashlib.sha256(lines.encode()).hexdigest()
