"""How a stage's script runs: one error line for what a user can correct, and steady params."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fdpo.config.params import PARAMS_FILE
from fdpo.config.yaml_files import read_yaml
from fdpo.core import errors
from fdpo.core.errors import UserError

PIPELINE = Path("dvc.yaml")


def run(stage: str, main: Callable[[], None]) -> None:
    """Call a stage's `main`; a `UserError` ends the process in one line and with code 2."""
    errors.run(steady_params(stage)(main))


@contextmanager
def steady_params(stage: str) -> Iterator[None]:
    """Run the block. Raises `UserError` where the stage's params were changed meanwhile.

    DVC reads params.yaml again when a stage has ended. A second `dvc exp run -S`, though it is
    refused, has rewritten the file by then: DVC would record the new values for the old outputs.
    """
    before = recorded_params(stage)
    yield
    after = recorded_params(stage)
    for key, value in before.items():
        if after.get(key) != value and os.environ.get("RANK", "0") == "0":
            raise UserError(
                f"{key}: was {value} when {stage} began and is {after.get(key)} now; nothing is"
                " recorded, so set it as you want it and run again"
            )


def recorded_params(stage: str) -> dict[str, Any]:
    """What DVC records of the params for a stage: the values of the keys that dvc.yaml names."""
    if not PIPELINE.exists():  # a script outside of the pipeline
        return {}
    knobs = read_yaml(PARAMS_FILE)
    found: dict[str, Any] = {}
    for entry in read_yaml(PIPELINE)["stages"][stage].get("params", []):
        files = entry if isinstance(entry, dict) else {str(PARAMS_FILE): [entry]}
        for name, keys in files.items():
            file = name.replace("${study}", str(knobs.get("study")))
            values = read_yaml(file)
            found |= {f"{file}: {key}": _value_at(values, key) for key in keys}
    return found


def deps(stage: str) -> list[Path]:
    """The files and folders that dvc.yaml names as the stage's deps."""
    named = read_yaml(PIPELINE)["stages"][stage].get("deps", [])
    return [Path(dep) for dep in named if "${" not in dep]


def _value_at(values: Any, key: str) -> Any:
    for part in key.split("."):
        values = values.get(part) if isinstance(values, dict) else None
    return values
