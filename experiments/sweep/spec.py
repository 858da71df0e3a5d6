"""Sweeps as data: experiments/sweeps/NAME.yaml, checked whole and spelled as DVC wants it."""

import copy
from dataclasses import dataclass
from decimal import Decimal
from itertools import chain
from pathlib import Path
from typing import Annotated, Any

from pydantic import ConfigDict, Field, ValidationError

from experiments.row_records import RowParams, Word
from experiments.sweep.results import read_row, row_file
from fdpo.config.params import PARAMS_FILE, check_params, study_file
from fdpo.config.study import Positive
from fdpo.config.yaml_files import read_yaml
from fdpo.core.errors import UserError
from fdpo.core.validation import Strict, problems
from fdpo.losses import LOSSES

SPECS = Path("experiments/sweeps")
KNOBS = ("loss", "beta", "alpha", "lr")  # of params.yaml; a row's other keys are the study's

Scalar = bool | int | float | str


class Entry(Strict):
    """One of the YAML's `rows`, run with each of its seeds; further keys are params of its own."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Scalar]

    name: Word
    seeds: list[int] | None = None  # None: the sweep's


class SweepFile(Strict):
    """A sweep's YAML. A row is named `NAME-sSEED`."""

    study: Word
    seeds: Annotated[list[int], Field(min_length=1)] | None = None  # None: params.yaml's alone
    # Of all rows: knobs of params.yaml, and the study's own keys by dotted path.
    params: dict[str, Scalar] = Field(default_factory=dict)
    # `lr` of the rows that have none of their own; `default` is of the losses that are not named.
    # Without either it is params.yaml's, where `auto` stands for the study's own for the loss.
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
        values = {"study": self.study}
        for key, value in self.params.model_dump().items():
            values[f"{study_file(self.study)}:{key}" if "." in key else key] = _spelled(value)
        return [f"{key}={value}" for key, value in values.items()]


def load(name: str, root: Path = Path()) -> list[RowSpec]:
    """The rows of the sweep `name` of the repository at `root`, seed by seed.

    Raises `UserError` with a line for every problem: the file, the row, the key and its value, and
    what is allowed.
    """
    path = SPECS / f"{name}.yaml"
    try:
        file = SweepFile.model_validate(_yaml(root, path))
    except ValidationError as error:
        raise UserError(*(f"{path}: {line}" for line in problems(error))) from None
    knobs, study = _yaml(root, PARAMS_FILE), _yaml(root, study_file(file.study))
    rows: dict[str, RowSpec] = {}
    unknown = file.lr_by_loss.keys() - {"default", *LOSSES}
    found = [f"{path}: lr_by_loss.{loss}: no such loss" for loss in sorted(unknown)]
    common = file.seeds or [knobs["seed"]]
    for seed in dict.fromkeys(chain(common, *(entry.seeds or () for entry in file.rows))):
        for entry in file.rows:
            if seed not in (entry.seeds or common):
                continue
            try:
                row = _row(name, file, entry, knobs | {"seed": seed}, study)
                if row.name in rows:
                    found.append(f"{path}: row {entry.name!r}: two rows have this name")
                rows[row.name] = row
            except UserError as error:
                found += [f"{path}: row {entry.name!r}: {line}" for line in error.lines]
    if found:
        raise UserError(*dict.fromkeys(found))
    return list(rows.values())


def is_done(row: RowSpec, commit: str | None = None) -> bool:
    """Whether there are results of the row with these params, and of this commit where given."""
    path = row_file(row.sweep, row.name)
    if not path.exists():
        return False
    found = read_row(path)
    return found.params == row.params and commit in (None, found.made.commit)


def _yaml(root: Path, path: Path) -> dict[str, Any]:
    if not (root / path).is_file():
        known = ", ".join(sorted(file.stem for file in (root / path).parent.glob("*.yaml")))
        raise UserError(f"{path}: not in the last commit; {path.parent} has {known or 'none'}")
    return read_yaml(root / path)


def _row(
    sweep: str, file: SweepFile, entry: Entry, knobs: dict[str, Any], study: dict[str, Any]
) -> RowSpec:
    """One entry of `rows` with the seed in `knobs`. Raises `UserError` with all that is wrong."""
    given = {**file.params, **(entry.model_extra or {})}
    needed = ("loss", "beta", "alpha") if given.get("loss") == "alpha" else ("loss", "beta")
    found = [f"{key}: missing; the row must have it" for key in needed if key not in given]
    rates = file.lr_by_loss
    if rate := rates.get(str(given.get("loss")), rates.get("default")):
        given = {"lr": rate, **given}
    own = {key: value for key, value in given.items() if key not in KNOBS}
    study = copy.deepcopy(study)
    for key, value in own.items():
        section, _, last = key.rpartition(".")
        if last in (keys := _at(study, section) or {}):
            keys[last] = value
        else:
            found.append(f"{key}: neither {', '.join(KNOBS)} nor a key of {study_file(file.study)}")
    try:
        knobs |= {"study": file.study} | {key: given[key] for key in KNOBS if key in given}
        settings = check_params(knobs, study)
    except UserError as error:
        found += [line.removeprefix(f"{PARAMS_FILE}: ") for line in error.lines]
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


def _spelled(value: Scalar) -> str:
    """A value in the one spelling used for it; no exponent, which PyYAML may take for a word."""
    if isinstance(value, bool):
        return str(value).lower()
    return format(Decimal(repr(value)), "f") if isinstance(value, float) else str(value)
