"""Files that are whole or absent: written beside their final name, then renamed."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fdpo.core.errors import UserError


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a scratch path beside `path`; rename it to `path` when the block ends well.

    Both may be a file, or a folder that the block creates. When the block fails, what was at `path`
    stays as it was.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.partial")
    _remove(scratch)
    try:
        yield scratch
        if path.is_dir():
            _remove(path)
        os.replace(scratch, path)
    finally:
        _remove(scratch)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def sha256(path: str | Path) -> str:
    """The SHA-256 of a file, in hexadecimal; it is read piece by piece."""
    with open(path, "rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` as indented JSON with sorted keys; NaN and infinities are refused."""
    text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    with replacing(path) as scratch:
        scratch.write_text(text + "\n", encoding="utf-8")


def read_json(path: str | Path) -> Any:
    """Read one JSON file. Raises `UserError` when it is missing or is not JSON."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: missing; run `dvc repro` to rebuild it") from None
    except ValueError as error:  # not UTF-8, or not JSON
        raise UserError(f"{path}: not JSON ({error}); run `dvc repro` to rebuild it") from None


def read_json_object(path: str | Path) -> dict[str, Any]:
    """Read a JSON file that is one object. Raises `UserError` as `read_json`, or for another."""
    value = read_json(path)
    if not isinstance(value, dict):
        raise UserError(f"{path}: must be a JSON object; run `dvc repro` to rebuild it")
    return value
