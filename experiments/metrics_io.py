"""The results of evaluation as Git has them, checked when read: hands and merges reach them."""

import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError

from experiments.programs import call
from fdpo.baselines.intervals import Interval
from fdpo.core.errors import UserError
from fdpo.core.validation import problems
from fdpo.losses import Objective
from stages import paths

# What tells rows apart, as params and objective.json name it.
COMPARED = ["study", "seed", "lr", *(field.name for field in fields(Objective))]
_REMAKE = "`dvc repro -f -s train evaluate` makes its own"
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


def text_at(revision: str, path: Path) -> str:
    """A file that Git holds, of the `workspace` or a commit.

    Raises `OSError` or `UserError` where it is not there.
    """
    if revision == "workspace":
        return path.read_text(encoding="utf-8")
    return call("git", "show", f"{revision}:./{path}")


def made_otherwise(params: Mapping[str, Any], revision: str = "workspace") -> str | None:
    """What the results of a revision were made with, in words, where `params` say otherwise.

    A single stage that was run, or params saved after an edit, leave the results of earlier ones
    behind. None where both agree.
    """
    try:
        objective = json.loads(text_at(revision, paths.OBJECTIVE_OF_RESULTS))
    except (OSError, UserError, ValueError):
        return f"unknown params, without a readable {paths.OBJECTIVE_OF_RESULTS}; {_REMAKE}"
    differ = [name for name in COMPARED if params.get(name) != objective.get(name)]
    made_with = ", ".join(f"{name} {objective.get(name)}" for name in differ)
    return f"{made_with}; {_REMAKE}" if differ else None
