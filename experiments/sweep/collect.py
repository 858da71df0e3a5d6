"""What a finished experiment holds, read from Git and DVC's cache (or remote) by its commit."""

import csv
import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dvc.api import DVCFileSystem
from dvc.exceptions import DvcException

from experiments.sweep.runner import RowFailed
from stages import paths

CURVES = [
    f"{split}/{what}" for split in ("train", "test") for what in ("loss", "margin", "accuracy")
]
STUDY_MODELS = (paths.REFERENCE, paths.REWARD_MODEL, paths.JUDGE)
SAMPLED_PROMPTS = 3  # prompts whose samples go into the results


def read(repo: str | Path, commit: str) -> dict[str, Any]:
    """The numbers of an experiment in this repository, and a few of its samples.

    Raises `RowFailed` when an output is neither in the cache nor in a remote, or is damaged.
    """
    with _readable():
        return _numbers(DVCFileSystem(str(repo), rev=commit))


def models(repo: str | Path, commit: str) -> dict[str, Any]:
    """What the study was made of: data/source.json, and the models' where they have their own."""
    sources = {"data": paths.TEXT_SOURCES} | {
        folder.name: folder / "source.json" for folder in STUDY_MODELS
    }
    with _readable():
        files = DVCFileSystem(str(repo), rev=commit)
        there = {name: str(path) for name, path in sources.items() if files.exists(str(path))}
        return {name: json.loads(files.read_text(path)) for name, path in there.items()}


@contextmanager
def _readable() -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, KeyError, DvcException) as error:
        raise RowFailed(f"its results can't be read: {' '.join(str(error).split())}") from None


def _numbers(files: DVCFileSystem) -> dict[str, Any]:
    samples = _lines(files, paths.SAMPLES)
    return {
        "metrics": json.loads(files.read_text(str(paths.METRICS_WITH_INTERVALS))),
        "calibration": json.loads(files.read_text(str(paths.CALIBRATION))),
        "curves": {name: _curve(files, name) for name in CURVES},
        "samples": samples[:SAMPLED_PROMPTS],
        "counts": {
            "train_pairs": len(_lines(files, paths.TRAIN_PAIRS)),
            "test_pairs": len(_lines(files, paths.TEST_PAIRS)),
            "heldout_prompts": len(samples),
            "samples": sum(len(row["policy"]) for row in samples),
        },
    }


def _lines(files: DVCFileSystem, path: Path) -> list[Any]:
    return [json.loads(line) for line in files.read_text(str(path)).split("\n") if line]


def _curve(files: DVCFileSystem, name: str) -> list[list[float | None]]:
    """Points [step, value] of a training curve; a value that is no number is None."""
    text = files.read_text(str(paths.TRAINING_CURVES / f"{name}.tsv"))
    points = csv.DictReader(text.splitlines(), delimiter="\t")
    values = [(int(point["step"]), float(point[name.split("/")[1]])) for point in points]
    return [[step, value if math.isfinite(value) else None] for step, value in values]
