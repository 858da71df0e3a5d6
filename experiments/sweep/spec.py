"""Sweeps as data: experiments/sweeps/NAME.yaml, read, checked and spelled as DVC wants it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError

from experiments.sweep.results import SWEEP_NAME, RowParams
from fdpo.config.params import Params
from fdpo.config.study import Positive
from fdpo.config.yaml_files import read_yaml
from fdpo.core.errors import UserError
from fdpo.core.validation import Strict, among, problems
from fdpo.losses import LOSSES
from fdpo.config.params import check_params

SPECS = Path("experiments/sweeps")
# What every row names, so that nothing of an earlier `dvc exp run -S` slips in.
COMPARISON = ("loss", "beta", "alpha", "lr", "seed")
_NAME = re.compile(r"[A-Za-z0-9]+([._-][A-Za-z0-9]+)*")  # fits a Git reference and a shell
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]*")  # needs no quoting in `-S key=value`

Scalar = bool | int | float | str
Entry = dict[str, Scalar | list[int]]


class SweepFile(Strict):
    """A sweep's YAML. Every row runs with every seed and is named `NAME-sSEED`."""

    study: str
    seeds: Annotated[list[int], Field(min_length=1)]
    prefix: str = ""  # of the experiments' names, where another sweep has rows of the same name
    # Of all rows, dotted paths of params.yaml.
    params: dict[str, Scalar] = Field(default_factory=dict)
    # `lr` of the rows that have none of their own; `default` is of the losses that are not named.
    lr_by_loss: dict[str, Positive] = Field(default_factory=dict)
    # `name`, params that go over those above, and `seeds` where not all of them.
    rows: Annotated[list[Entry], Field(min_length=1)]


@dataclass(frozen=True)
class RowSpec:
    """One run. `params` are `COMPARISON` and the sweep's overrides by dotted path."""

    name: str  # sigmoid-b0.1-s1
    experiment: str  # its name in DVC
    params: RowParams
    settings: Params  # the whole of params.yaml with these


@dataclass(frozen=True)
class SweepSpec:
    """A sweep to run. Its rows come seed by seed: one seed's completions are sampled once."""

    name: str
    study: str
    rows: list[RowSpec]


def load(name: str, base: Params, folder: Path = SPECS) -> SweepSpec:
    """Read `folder`/NAME.yaml; its rows are laid over `base`.

    Raises `UserError` in one line naming the row, the key, its value and what is allowed.
    """
    if not re.fullmatch(SWEEP_NAME, name):
        raise UserError(
            f"{name}: must be a file of {folder} without .yaml, in letters, digits and . _ -"
        )
    path = folder / f"{name}.yaml"
    file = _read(path)
    rows = [
        _row(path, file, entry, seed, base)
        for seed in dict.fromkeys(file.seeds)
        for entry in file.rows
        if seed in _seeds(path, file, entry)
    ]
    names = [row.name for row in rows]
    for row_name in names:
        if names.count(row_name) > 1:
            raise UserError(f"{path}: row {row_name!r}: two rows have this name; rename one")
    return SweepSpec(name, file.study, rows)


def _read(path: Path) -> SweepFile:
    if not path.exists():
        available = ", ".join(sorted(file.stem for file in path.parent.glob("*.yaml")))
        raise UserError(f"{path}: no such sweep; there are {available or 'none'}")
    values = read_yaml(path)
    try:
        file = SweepFile.model_validate(values)
    except ValidationError as error:
        raise UserError(*(f"{path}: {line}" for line in problems(error, values))) from None
    names = ("default", *LOSSES)
    for loss in file.lr_by_loss:
        if loss not in names:
            raise UserError(f"{path}: lr_by_loss.{loss}: no such loss; {among(names)}")
    return file


def _seeds(path: Path, file: SweepFile, entry: Entry) -> list[int]:
    """The seeds of one entry of `rows`: its own, which must be among the sweep's, or all."""
    seeds = entry.get("seeds", file.seeds)
    if not isinstance(seeds, list) or not seeds or not set(seeds) <= set(file.seeds):
        raise UserError(
            f"{path}: row {entry.get('name')!r}: seeds = {seeds!r}: must be a list of some of the"
            f" sweep's, {file.seeds}"
        )
    return seeds


def _row(path: Path, file: SweepFile, entry: Entry, seed: int, base: Params) -> RowSpec:
    """One entry of `rows` with one seed, checked."""
    name = f"{entry.get('name', '')}-s{seed}"
    experiment = file.prefix + name
    if not _NAME.fullmatch(experiment):
        raise UserError(f"{path}: name = {entry.get('name')!r}: must be letters, digits and . _ -")
    own: dict[str, Scalar] = {}
    for key, value in entry.items():
        if key in ("name", "seeds"):
            continue
        if isinstance(value, list):
            raise UserError(f"{path}: row {name!r}: {key} = {value!r}: must be a single value")
        own[key] = value
    values = file.params | own
    for key in ("study", "seed"):
        if key in values:
            raise UserError(f"{path}: row {name!r}: {key}: belongs at the top of the file")
    rates = file.lr_by_loss
    if rate := rates.get(str(values.get("loss")), rates.get("default")):
        values = {"lr": rate, **values}
    values["seed"] = seed
    for key in COMPARISON:
        if key not in values:
            raise UserError(f"{path}: row {name!r}: {key} is missing; every row must name it")
    if values["lr"] == "auto":
        raise UserError(f"{path}: row {name!r}: lr = 'auto': must be a number")
    try:
        settings = overlaid(base, {"study": file.study, **values})
    except UserError as error:
        raise UserError(*(f"{path}: row {name!r}: {line}" for line in error.lines)) from None
    # As params.yaml's own types have them: β = 1 and β = 1.0 are different runs to DVC.
    tree = settings.model_dump()
    params = RowParams.model_validate({key: lookup(tree, key) for key in values})
    return RowSpec(name, experiment, params, settings)


def overlaid(base: Params, values: Mapping[str, Scalar]) -> Params:
    """`base` with the values at these dotted paths. Raises `UserError` for what is not allowed."""
    tree = base.model_dump(exclude_unset=True)  # as the file has it
    for key, value in values.items():
        if isinstance(lookup(tree, key), dict | list):
            raise UserError(f"{key} = {value!r}: a whole section; name one of its keys")
        if isinstance(value, str) and not _WORD.fullmatch(value):
            raise UserError(f"{key} = {value!r}: must be one word of letters, digits and . _ / -")
        *parents, last = key.split(".")
        section = lookup(tree, ".".join(parents)) if parents else tree
        section[last] = value
    return check_params(tree)


def lookup(tree: dict[str, Any], path: str) -> Any:
    """The value at a dotted path of params.yaml."""
    for part in path.split("."):
        if not isinstance(tree, dict) or part not in tree:
            raise UserError(f"{path}: no such key in params.yaml; correct its spelling")
        tree = tree[part]
    return tree


def run_settings(settings: Params) -> dict[str, Any]:
    """What of params.yaml a run depends on: the comparison and the active study."""
    return settings.model_dump(exclude={"studies"}) | {"active": settings.active.model_dump()}


def data_settings(settings: Params) -> str:
    """What a run's prompts, completions and pairs depend on."""
    sections = settings.active.model_dump_json(exclude={"train", "evaluate"})
    return f"{settings.study} {settings.seed} {sections}"


def as_dvc_arguments(row: RowSpec) -> list[str]:
    """The row as arguments of `dvc exp run`."""
    values = {"study": row.settings.study, **row.params.model_dump()}
    return [part for key, value in values.items() for part in ("-S", f"{key}={spelled(value)}")]


def spelled(value: Scalar) -> str:
    """A value in the one spelling used for it; no exponent, which PyYAML may take for a word."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        digits = format(Decimal(repr(value)), "f")
        return digits if "." in digits else f"{digits}.0"
    return str(value)
