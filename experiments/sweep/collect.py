"""What a finished row holds, read from the clone that it ran in."""

import csv
import json
import math
from pathlib import Path
from typing import Any

from experiments.row_records import HeldoutScores, Provenance, ReferenceResults, RowResults
from experiments.sweep.spec import RowSpec
from fdpo.core.records import HeldoutSamples, SamplesOfPrompt, read
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
SOURCES = (paths.DATA, paths.REFERENCE_MODEL, paths.REWARD_MODEL, paths.JUDGE_MODEL)
KEPT_SAMPLES = 3  # prompts whose texts go into the results
SCORE_DECIMALS = 4  # of the scores of single samples


def collect(clone: Path, row: RowSpec, made: Provenance) -> tuple[RowResults, ReferenceResults]:
    """The numbers of the row that ran in `clone`, a few of its samples, and its reference's."""
    samples = list(read(clone / paths.SAMPLES, HeldoutSamples))
    baselines = clone / paths.REFERENCE_BASELINES
    reference = ReferenceResults(
        prompts=[prompt.id for prompt in samples],
        reward=_scores(samples, "reference", "reward") or [],
        judge=_scores(samples, "reference", "judge"),
        baselines=_json(baselines) if baselines.exists() else [],
    )
    shown = [SamplesOfPrompt.model_validate(x.model_dump(), extra="ignore") for x in samples]
    sources = {folder.name: clone / folder / "source.json" for folder in SOURCES}
    content = {
        "study": row.study,
        "params": row.params.model_dump(),
        "metrics": _json(clone / paths.METRICS_WITH_INTERVALS),
        "calibration": _json(clone / paths.CALIBRATION),
        "curves": {name: _curve(clone / path) for name, path in CURVE_FILES.items()},
        "samples": [prompt.model_dump() for prompt in shown[:KEPT_SAMPLES]],
        "counts": {
            "train_pairs": _count(clone / paths.TRAIN_PAIRS),
            "test_pairs": _count(clone / paths.TEST_PAIRS),
            "heldout_prompts": len(samples),
            "samples": sum(len(prompt.policy) for prompt in samples),
        },
        "models": {name: _json(path) for name, path in sources.items() if path.exists()},
        "made": made.model_dump(),
        "heldout": {name: _scores(samples, "policy", name) for name in HeldoutScores.model_fields},
        "reference": reference.digest,
    }
    # By way of JSON, so that what is written can be read again.
    return RowResults.model_validate_json(json.dumps(content)), reference


def _scores(samples: list[HeldoutSamples], side: str, name: str) -> list[list[float]] | None:
    """A score of every sample of the policy or the reference; None without a judge."""
    values = [[getattr(sample, name) for sample in getattr(prompt, side)] for prompt in samples]
    if any(value is None for prompt in values for value in prompt):
        return None
    return [[round(value, SCORE_DECIMALS) for value in prompt] for prompt in values]


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _count(path: Path) -> int:
    return path.read_text(encoding="utf-8").count("\n")


def _curve(path: Path) -> list[tuple[int, float | None]]:
    """Points (step, value) of a training curve; a value that is no number is None."""
    points = csv.DictReader(path.read_text(encoding="utf-8").splitlines(), delimiter="\t")
    values = [(int(point["step"]), float(point[path.stem])) for point in points]
    return [(step, value if math.isfinite(value) else None) for step, value in values]
