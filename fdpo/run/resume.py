"""Work that outlives its process: partial results kept outside of DVC's outputs.

DVC deletes a stage's outputs before it runs it, so what an interrupted run had done lies in
.ckpt/<stage>-<key>/ under the repository's root. The key is a hash of all that the result depends
on; another run's work is never picked up, and two processes never continue the same.
"""

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pydantic import TypeAdapter

from fdpo.core.files import writing
from fdpo.core.records import Record, Strict, dump, read
from fdpo.run import processes, stage_deps
from fdpo.run.locks import UNFINISHED, exclusive_lock


@contextmanager
def folder(stage: str, *settings: object) -> Iterator[Path]:
    """The folder for unfinished work of `stage`: kept when the block fails, removed when it ends.

    It is made where it is missing, and within the block it belongs to this process and to those
    launched with it. `settings` are the parameter values (records or plain values) that the result
    depends on; inputs and code are those that dvc.yaml names as the stage's deps. Raises
    `UserError` when there is no dvc.yaml, or another process is at the same work.
    """
    digest = hashlib.sha256()
    for value in settings:
        digest.update(TypeAdapter(object).dump_json(value) + b"\0")
    for path in _files(stage_deps.deps(stage)):
        with open(path, "rb") as content:
            digest.update(str(path).encode() + hashlib.file_digest(content, "sha256").digest())
    root = Path(os.environ.get("DVC_ROOT", "."), UNFINISHED)  # the repository's, in --temp too
    own = root / f"{stage}-{digest.hexdigest()[:16]}"
    done = own.with_suffix(".done")
    with exclusive_lock(own.with_suffix(".lock"), stage):
        if processes.is_main():
            shutil.rmtree(done, ignore_errors=True)
            own.mkdir(exist_ok=True)
        processes.wait()
        yield own
        processes.wait()
        if processes.is_main():
            own.replace(done)  # first, so that nothing half removed is ever picked up
            shutil.rmtree(done)


def _files(deps: Sequence[Path]) -> list[Path]:
    inside = [
        file
        for path in deps
        if path.is_dir()
        for file in path.rglob("*")
        if "__pycache__" not in file.parts
    ]
    return sorted(path for path in [*deps, *inside] if path.is_file())


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
        with writing(self.path), open(self.path, "ab") as file:
            file.write("".join(map(dump, records)).encode())
            file.flush()
            os.fsync(file.fileno())


def batch_by_batch(
    path: Path | None,
    kind: type[Record],
    batches: Sequence[Sequence],
    compute: Callable[[Sequence], Sequence[Record]],
    title: str,
) -> list[Record]:
    """The records that `compute` gives for each batch, one an item, under a bar named `title`.

    Batches whose records a killed process left in `path` are not computed again. Without a path
    nothing is written. Of several processes each computes a share, the main one keeps the file, and
    all return the whole.
    """
    partial, found = None, []
    if path and processes.is_main():
        partial = PartialRecords(path, [len(batch) for batch in batches])
        if done := partial.done:
            found = list(read(path, kind))
            print(f"{title}: goes on after {done} of {len(batches)} batches", flush=True)
    done, found = processes.from_main((partial.done if partial else 0, found))
    for made in processes.share_out(compute, batches, title, done):
        if partial:
            partial.append(made)
        found += made
    return found
