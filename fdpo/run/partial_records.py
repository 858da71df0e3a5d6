"""Records that are computed batch by batch, and survive the process that computes them."""

import os
import sys
from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate
from pathlib import Path

from fdpo.core.records import Record, dump
from fdpo.run import processes


def batch_by_batch(
    path: Path | None,
    kind: type[Record],
    batches: Sequence[Sequence],
    compute: Callable[[Sequence], Sequence[Record]],
    title: str,
    samples: Callable[[Sequence], int] = len,
) -> list[Record]:
    """The records that `compute` gives for each batch, one per item.

    Batches whose records a killed process left in `path` are not computed again; without a path
    nothing is written. Of several processes each computes a share, the main one keeps the file, and
    all return the whole. Progress is shown under `title`, in the `samples` that a batch has.
    """
    done = 0
    records: list[Record] = []
    if path and processes.is_main():
        done, records = _whole_batches(path, kind, batches)
        if done:
            print(f"{title}: goes on after {done} of {len(batches)} batches", file=sys.stderr)
    done, records = processes.from_main((done, records))
    for computed in processes.share_out(compute, batches, title, samples, "samples", done):
        if path and processes.is_main():
            with open(path, "a", encoding="utf-8") as file:
                file.writelines(map(dump, computed))
                file.flush()
                os.fsync(file.fileno())
        records += computed
    return records


def _whole_batches(
    path: Path, kind: type[Record], batches: Sequence[Sequence]
) -> tuple[int, list[Record]]:
    """How many whole batches `path` begins with, and their records; the rest is cut off."""
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    whole = [line for line in lines if line.endswith(b"\n")]
    ends = [0, *accumulate(map(len, batches))]
    done = bisect_right(ends, len(whole)) - 1
    kept = ends[done]
    path.write_bytes(b"".join(whole[:kept]))
    return done, [kind.model_validate_json(line) for line in whole[:kept]]
