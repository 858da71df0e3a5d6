"""Sweeps as data: experiments/sweeps/NAME.yaml, checked whole and spelled as DVC wants it."""

import copy
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import ConfigDict, Field, ValidationError

from experiments.sweep.results import RowParams, Word, read_row, row_file
from fdpo.config.params import PARAMS_FILE, check_params, study_file
from fdpo.config.study import Positive
from fdpo.config.yaml_files import read_yaml
from fdpo.core.errors import UserError
from fdpo.core.validation import Strict, problems
from fdpo.losses import LOSSES

SPECS = Path("experiments/sweeps")
KNOBS = ("loss", "beta", "alpha", "lr")  # of params.yaml; a row's other keys are the study's


class Entry(Strict):
    """One of the YAML's `rows`, run with each of its seeds; further keys are params of its own."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, bool | int | float | str | list]

    name: Word
    seeds: list[int] | None = None  # None: the sweep's


class SweepFile(Strict):
    """A sweep's YAML. A row is named `NAME-sSEED`."""

    study: Word
    seeds: Annotated[list[int], Field(min_length=1)] | None = None  # None: params.yaml's alone
    # Of all rows: knobs of params.yaml, and the study's own keys by dotted path.
    params: dict[str, bool | int | float | str | list] = Field(default_factory=dict)
    # Of rows without an `lr` of their own; `default` is of the losses that are not named. Without
    # either it is params.yaml's, where `auto` stands for the study's own for the loss.
    lr_by_loss: dict[str, Positive] = Field(default_factory=dict)
    rows: Annotated[list[Entry], Field(min_length=1)]


@dataclass(frozen=True)
class RowSpec:
    """One run: its name, such as sigmoid-b0.1-s1, and all that tells it from others."""

    sweep: str
    study: str
    name: str
    params: RowParams
    data: str  # equal for rows with the same prompts, completions and pairs

    @property
    def experiment(self) -> str:
        """Its name in DVC."""
        return f"{self.sweep}-{self.name}"

    @property
    def settings(self) -> list[str]:
        """`key=value` of every knob and override, as `dvc exp run -S` takes them."""
        # `++` also sets an optional key that the study's file leaves out.
        section = f"{study_file(self.study)}:++"
        params = self.params.model_dump().items()
        own = [f"{section if '.' in key else ''}{key}={json.dumps(value)}" for key, value in params]
        return [f"study={self.study}", *own]

    def is_done(self, commit: str | None = None) -> bool:
        """Whether there are results with these params, and of this commit where it is given."""
        path = row_file(self.sweep, self.name)
        if not path.exists() or (found := read_row(path)).params != self.params:
            return False
        return commit in (None, found.made["commit"])


def load(name: str, root: Path = Path()) -> list[RowSpec]:
    """The rows of the sweep `name` of the repository at `root`, by seed.

    Raises `UserError` with a line for every problem: file, row, key, value and what is allowed.
    """
    path = SPECS / f"{name}.yaml"
    try:
        file = SweepFile.model_validate(_yaml(root, path))
    except ValidationError as error:
        raise UserError(*(f"{path}: {line}" for line in problems(error))) from None
    knobs, study = _yaml(root, PARAMS_FILE), _yaml(root, study_file(file.study))
    unknown = file.lr_by_loss.keys() - {"default", *LOSSES}
    found = [f"{path}: lr_by_loss.{loss}: no such loss" for loss in sorted(unknown)]
    names, rows = [entry.name for entry in file.rows], []
    for entry in file.rows:
        where = f"{path}: row {entry.name!r}"
        if names.count(entry.name) > 1:
            found.append(f"{where}: two rows have this name")
        for seed in dict.fromkeys(entry.seeds or file.seeds or [knobs["seed"]]):
            try:
                rows.append(_row(name, file, entry, knobs | {"seed": seed}, study))
            except UserError as error:
                found += [f"{where}: {line}" for line in error.lines]
    if found:
        raise UserError(*dict.fromkeys(found))
    return sorted(rows, key=lambda row: row.params.seed)


def _yaml(root: Path, path: Path) -> dict[str, Any]:
    if (root / path).is_file():
        return read_yaml(root / path)
    known = ", ".join(sorted(file.stem for file in (root / path).parent.glob("*.yaml")))
    raise UserError(f"{path}: not in the last commit; {path.parent} has {known or 'none'}")


def _row(
    sweep: str, file: SweepFile, entry: Entry, knobs: dict[str, Any], study: dict[str, Any]
) -> RowSpec:
    """One entry of `rows` with the seed in `knobs`. Raises `UserError` with all that is wrong."""
    given = {**file.params, **(entry.model_extra or {})}
    loss = str(given.get("loss"))
    needed = ("loss", "beta", *(LOSSES[loss].parameters if loss in LOSSES else ()))
    found = [f"{key}: missing; the row must have it" for key in needed if key not in given]
    in_file = study_file(file.study)
    if rate := file.lr_by_loss.get(loss, file.lr_by_loss.get("default")):
        given = {"lr": rate, **given}
    own = {key: value for key, value in given.items() if key not in KNOBS}
    study = copy.deepcopy(study)
    for key, value in own.items():
        section, _, last = key.rpartition(".")
        if isinstance(keys := _at(study, section), dict):
            keys[last] = value
        else:
            found.append(f"{key}: neither {', '.join(KNOBS)} nor a key of a section of {in_file}")
    try:
        knobs |= {"study": file.study} | {key: given[key] for key in KNOBS if key in given}
        settings = check_params(knobs, study)
    except UserError as error:
        found += [line.split(": ", 1)[1] for line in error.lines]  # without the file
    if found:
        raise UserError(*found)
    # As the study's own types have them: 1 and 1.0 are different runs to DVC.
    values = settings.model_dump(include={"loss", "beta", "alpha", "seed"})
    values["lr"] = settings.effective_lr
    tree = settings.active.model_dump()
    params = RowParams.model_validate(values | {key: _at(tree, key) for key in own})
    data = f"{params.seed} {settings.active.model_dump_json(exclude={'train', 'evaluate'})}"
    return RowSpec(sweep, file.study, f"{entry.name}-s{params.seed}", params, data)


def _at(tree: Any, key: str) -> Any:
    """The value at a dotted path of the study's file, or None."""
    for part in key.split("."):
        tree = tree.get(part) if isinstance(tree, dict) else None
    return tree
