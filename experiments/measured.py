"""results/evaluate/metrics.json, checked when read: it is in Git, so hands and merges reach it."""

import json
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError

from fdpo.core.errors import UserError
from fdpo.core.files import distinct_keys
from fdpo.core.validation import first_problem
from fdpo.baselines.intervals import Interval
from stages import paths

ALWAYS_MEASURED = ("reward_difference", "kl")
_METRICS = TypeAdapter(dict[str, Interval], config=ConfigDict(strict=True, allow_inf_nan=False))


def read_metrics(folder: Path = Path()) -> dict[str, Any]:
    """Value, low and high of each metric of the last run in `folder`.

    Raises `UserError` where the file is missing or not as evaluation writes it.
    """
    path = folder / paths.METRICS_WITH_INTERVALS
    try:
        return parsed_metrics(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: missing; run `dvc repro` to rebuild it") from None
    except (ValueError, IsADirectoryError) as error:
        raise UserError(f"{path}: {error}; run `dvc repro` to rebuild it") from None


def parsed_metrics(text: str) -> dict[str, Any]:
    """The metrics in such a file's content. Raises `ValueError` in one line for another."""
    try:
        _METRICS.validate_json(text)
    except ValidationError as error:
        raise ValueError(first_problem(error)) from None
    metrics = json.loads(text, object_pairs_hook=distinct_keys)
    for name in ALWAYS_MEASURED:
        if name not in metrics:
            raise ValueError(f"{name} is missing")
    return metrics
