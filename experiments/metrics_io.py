"""results/evaluate/metrics.json, checked when read: it is in Git, so hands and merges reach it."""

from pathlib import Path
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError

from fdpo.baselines.intervals import Interval
from fdpo.core.errors import UserError
from fdpo.core.validation import problems
from stages import paths

_METRICS = TypeAdapter(dict[str, Interval], config=ConfigDict(strict=True, allow_inf_nan=False))


def read_metrics(folder: Path = Path()) -> dict[str, Any]:
    """Value, low and high of each metric of the last run in `folder`.

    Raises `UserError` where the file is missing or not as evaluation writes it.
    """
    path = folder / paths.METRICS_WITH_INTERVALS
    try:
        return parsed_metrics(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError) as error:
        raise UserError(f"{path}: {error}; run `dvc repro` to rebuild it") from None


def parsed_metrics(text: str) -> dict[str, Any]:
    """The metrics in such a file's content. Raises `ValueError` in one line for another."""
    try:
        return {name: vars(value) for name, value in _METRICS.validate_json(text).items()}
    except ValidationError as error:
        raise ValueError(problems(error)[0]) from None
