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
from pydantic import ValidationError

from experiments.sweep.results import (
    HeldoutScores,
    Provenance,
    ReferenceResults,
    RowParams,
    RowResults,
    SampleValues,
)
from experiments.sweep.row_runner import RowFailed
from fdpo.core.records import ScoredSample
from fdpo.core.validation import first_problem
from stages import paths

# The names in a sweep's results, and the files' of the train stage.
CURVE_FILES = {
    f"{split}/{quantity}": paths.CURVE_FOLDER / folder / f"{curve}.tsv"
    for split, folder in (("train", "train"), ("test", "eval"))
    for quantity, curve in (
        ("loss", "loss"),
        ("margin", "rewards/margins"),
        ("accuracy", "rewards/accuracies"),
    )
}
STUDY_MODELS = (paths.REFERENCE_MODEL, paths.REWARD_MODEL, paths.JUDGE_MODEL)
KEPT_SAMPLES = 3  # prompts whose texts go into the results
SCORE_DECIMALS = 4  # of the scores of single samples


def row_results(
    repo: str | Path, commit: str, params: RowParams, provenance: Provenance
) -> RowResults:
    """The numbers of an experiment in this repository, and a few of its samples.

    Raises `RowFailed` when an output is neither in the cache nor in a remote, or is damaged.
    """
    with _readable():
        files = DVCFileSystem(str(repo), rev=commit)
        described = {"params": params.model_dump(), "made": provenance.model_dump()}
        # By way of JSON, so that what is written here is what can be read again.
        return RowResults.model_validate_json(json.dumps(described | _measured(files)))


def reference_results(repo: str | Path, commit: str) -> ReferenceResults:
    """What an experiment's policy was compared with.

    Raises `RowFailed` as `row_results` does.
    """
    with _readable():
        files = DVCFileSystem(str(repo), rev=commit)
        return _reference(files, _lines(files, paths.SAMPLES))


def models(repo: str | Path, commit: str) -> dict[str, Any]:
    """What the study was made of: data/source.json, and the models' where they have their own.

    Raises `RowFailed` as `row_results` does.
    """
    sources = {"data": paths.TEXT_SOURCES}
    sources |= {folder.name: folder / "source.json" for folder in STUDY_MODELS}
    with _readable():
        files = DVCFileSystem(str(repo), rev=commit)
        present = {name: str(path) for name, path in sources.items() if files.exists(str(path))}
        return {name: json.loads(files.read_text(path)) for name, path in present.items()}


@contextmanager
def _readable() -> Iterator[None]:
    try:
        yield
    except ValidationError as error:
        raise RowFailed(f"its results can't be read: {first_problem(error)}") from None
    except (OSError, ValueError, KeyError, DvcException) as error:
        raise RowFailed(f"its results can't be read: {' '.join(str(error).split())}") from None


def _measured(files: DVCFileSystem) -> dict[str, Any]:
    samples = _lines(files, paths.SAMPLES)
    return {
        "metrics": json.loads(files.read_text(str(paths.METRICS_WITH_INTERVALS))),
        "calibration": json.loads(files.read_text(str(paths.CALIBRATION))),
        "curves": {name: _curve(files, path) for name, path in CURVE_FILES.items()},
        "samples": [_shown(prompt) for prompt in samples[:KEPT_SAMPLES]],
        "heldout": {
            name: _values(samples, "policy", name)
            for name in HeldoutScores.model_fields
            if name != "judge" or _judged(samples)
        },
        "reference": _reference(files, samples).digest,
        "counts": {
            "train_pairs": len(_lines(files, paths.TRAIN_PAIRS)),
            "test_pairs": len(_lines(files, paths.TEST_PAIRS)),
            "heldout_prompts": len(samples),
            "samples": sum(len(prompt["policy"]) for prompt in samples),
        },
    }


def _reference(files: DVCFileSystem, samples: list[Any]) -> ReferenceResults:
    baselines = str(paths.REFERENCE_BASELINES)
    return ReferenceResults(
        prompts=[prompt["id"] for prompt in samples],
        reward=_values(samples, "reference", "reward"),
        judge=_values(samples, "reference", "judge") if _judged(samples) else None,
        baselines=json.loads(files.read_text(baselines)) if files.exists(baselines) else [],
    )


def _judged(samples: list[Any]) -> bool:
    """Whether the study has a judge."""
    return any("judge" in sample for prompt in samples for sample in prompt["policy"])


def _values(samples: list[Any], model: str, name: str) -> SampleValues:
    """A number of every sample of a model, rounded."""
    return [[round(sample[name], SCORE_DECIMALS) for sample in prompt[model]] for prompt in samples]


def _shown(prompt: dict[str, Any]) -> dict[str, Any]:
    """A prompt's samples with no more than a reader looks at."""
    kept = ScoredSample.model_fields
    sides = {
        model: [{name: sample[name] for name in kept if name in sample} for sample in prompt[model]]
        for model in ("reference", "policy")
    }
    return prompt | sides


def _lines(files: DVCFileSystem, path: Path) -> list[Any]:
    return [json.loads(line) for line in files.read_text(str(path)).split("\n") if line]


def _curve(files: DVCFileSystem, path: Path) -> list[tuple[int, float | None]]:
    """Points (step, value) of a training curve; a value that is no number is None."""
    text = files.read_text(str(path))
    points = csv.DictReader(text.splitlines(), delimiter="\t")
    values = [(int(point["step"]), float(point[path.stem])) for point in points]
    return [(step, value if math.isfinite(value) else None) for step, value in values]
