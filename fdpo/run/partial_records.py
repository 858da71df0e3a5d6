"""Records that are computed batch by batch, and survive the process that computes them."""

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from fdpo.core.files import writing
from fdpo.core.records import Record, Strict, dump
from fdpo.run import processes

DIGITS = 16  # of the checksum before each line


class PartialRecords:
    """A file that grows by one batch at a time and survives the process.

    Each line is a record behind a checksum of it and of all lines before it. So a line that was
    changed, repeated or lost is noticed, and the lines before it are still good.
    """

    def __init__(self, path: Path, batches: Sequence[int]):
        """Keep the whole, undamaged batches that `path` begins with.

        Args:
            path: the file; it may be missing.
            batches: how many records each batch has.
        """
        self.path = path
        self._checksum = b""
        content = path.read_bytes() if path.exists() else b""
        good = list(_good_lines(content))
        self.batches_done = count = 0
        for size in batches:
            if count + size > len(good):
                break
            count += size
            self.batches_done += 1
        self.lines = [line for _, line in good[:count]]
        if count:
            self._checksum = good[count - 1][0]
        kept = sum(DIGITS + 1 + len(line) for line in self.lines)
        # What a killed process was writing ends without a line break; anything else was damaged.
        self.damaged = len(good) < content.count(b"\n")
        with writing(path), open(path, "ab") as file:
            file.truncate(kept)

    def append(self, records: Sequence[Strict]) -> None:
        """Add one batch; it is on the disk when this returns."""
        lines = []
        for record in records:
            line = dump(record).encode()
            self._checksum = _checksum(self._checksum, line)
            lines += [self._checksum, b" ", line]
        with writing(self.path), open(self.path, "ab") as file:
            file.write(b"".join(lines))
            file.flush()
            os.fsync(file.fileno())


def _good_lines(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(checksum, line) of each line up to the first that is not as it was written."""
    checksum = b""
    for line in content.splitlines(keepends=True):
        stated, _, record = line.partition(b" ")
        checksum = _checksum(checksum, record)
        if stated != checksum or not line.endswith(b"\n"):
            return
        yield checksum, record


def _checksum(previous: bytes, line: bytes) -> bytes:
    return hashlib.sha256(previous + line).hexdigest()[:DIGITS].encode()


def batch_by_batch(
    path: Path | None,
    kind: type[Record],
    batches: Sequence[Sequence],
    compute: Callable[[Sequence], Sequence[Record]],
    title: str,
    samples: Callable[[Sequence], int] = len,
) -> list[Record]:
    """The records that `compute` gives for each batch, one per item.

    What is done is shown under `title`, as a number of samples, of which a batch has `samples`.

    Batches whose records a killed process left in `path` are not computed again. Without a path
    nothing is written. Of several processes each computes a share, the main one keeps the file, and
    all return the whole.
    """
    partial, records = None, []
    if path and processes.is_main():
        partial = PartialRecords(path, [len(batch) for batch in batches])
        records = [kind.model_validate_json(line) for line in partial.lines]
        if partial.damaged:
            print(f"{title}: {path} is damaged; its undamaged beginning is used", flush=True)
        if partial.batches_done:
            batches_done = f"{partial.batches_done} of {len(batches)} batches"
            print(f"{title}: goes on after {batches_done}", flush=True)
    done, records = processes.from_main((partial.batches_done if partial else 0, records))
    for computed in processes.share_out(compute, batches, title, samples, "samples", done):
        if partial:
            partial.append(computed)
        records += computed
    return records
