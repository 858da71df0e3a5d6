"""Work that outlives its process: partial results kept outside of DVC's outputs.

DVC deletes a stage's outputs before it runs it, so what an interrupted run had done lies in
.ckpt/<stage>-<key>/ under the repository's root. The key is a hash of all that the result depends
on; another run's work is never picked up.
"""

import hashlib
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import yaml
from pydantic import TypeAdapter

from fdpo.files import replacing
from fdpo.records import Strict, dump


def folder(stage: str, *settings: object) -> Path:
    """The folder for unfinished work of `stage`, made where it is missing.

    `settings` are the parameter values (records or plain values) that the result depends on;
    inputs and code are those that dvc.yaml names as the stage's deps.
    """
    digest = hashlib.sha256()
    for value in settings:
        digest.update(TypeAdapter(object).dump_json(value) + b"\0")
    stages = yaml.safe_load(Path("dvc.yaml").read_text(encoding="utf-8"))["stages"]
    for path in _files(stages[stage]["deps"]):
        with open(path, "rb") as content:
            digest.update(str(path).encode() + hashlib.file_digest(content, "sha256").digest())
    root = Path(os.environ.get("DVC_ROOT", "."), ".ckpt")  # the repository's, in `--temp` runs too
    own = root / f"{stage}-{digest.hexdigest()[:16]}"
    own.mkdir(parents=True, exist_ok=True)
    return own


def _files(deps: Sequence[str]) -> list[Path]:
    paths = [Path(dep) for dep in deps]
    inside = [file for path in paths if path.is_dir() for file in path.rglob("*")]
    return sorted(path for path in paths + inside if path.is_file())


class PartialRecords:
    """JSON Lines that grow a batch at a time and survive the process."""

    def __init__(self, path: Path, batches: Sequence[int]):
        """Go on after the last whole batch in `path`; `batches` are all batches' record counts."""
        self.path = path
        lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
        whole = sum(line.endswith(b"\n") for line in lines)
        self.done = kept = 0
        while self.done < len(batches) and kept + batches[self.done] <= whole:
            kept += batches[self.done]
            self.done += 1
        with open(path, "ab") as file:
            file.truncate(sum(map(len, lines[:kept])))

    def append(self, records: Sequence[Strict]) -> None:
        """Add one batch; it is on the disk when this returns."""
        with open(self.path, "ab") as file:
            file.write("".join(map(dump, records)).encode())
            file.flush()
            os.fsync(file.fileno())

    def finish(self, output: str) -> None:
        """Put the whole file at `output` and forget the unfinished work."""
        with replacing(output) as scratch:
            shutil.copyfile(self.path, scratch)
        shutil.rmtree(self.path.parent)
