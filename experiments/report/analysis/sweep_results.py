"""The committed results of sweeps, experiments/results/SWEEP.json, read strictly."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import ConfigDict, Field, ValidationError, model_validator

from fdpo.core.errors import UserError
from fdpo.core.records import SamplesOfPrompt
from fdpo.core.validation import Strict, first_problem

FOLDER = Path("experiments/results")
NEEDED = ("reward", "reward_difference", "judge_difference", "kl", "entropy", "distinct_2")


class Interval(Strict):
    """A number with its 95 % interval; no ends where it could not be estimated."""

    value: float
    low: float | None
    high: float | None


class RowParams(Strict):
    """What tells a row from the others; further keys are overrides by dotted path."""

    model_config = ConfigDict(extra="allow")

    loss: str
    beta: Annotated[float, Field(gt=0)]
    alpha: float
    lr: float | str
    seed: int

    @property
    def overrides(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


class Bin(Strict):
    """A bin of stated probabilities: their mean, the share that came true, how many pairs."""

    confidence: float
    accuracy: float
    count: int


class Counts(Strict):
    train_pairs: int
    test_pairs: int
    heldout_prompts: int
    samples: int


class Made(Strict):
    """Where a row's numbers come from: the commit it ran from and the experiment's own.

    None where the row was taken from an experiment that another machine ran.
    """

    commit: str
    experiment: str
    name: str | None = None
    seconds: float | None
    python: str | None
    packages: dict[str, str] | None
    machine: Any


class Row(Strict):
    """One finished experiment."""

    params: RowParams
    metrics: dict[str, Interval]
    calibration: list[Bin]
    curves: dict[str, list[tuple[float, float | None]]]  # None: the value was no number
    samples: list[SamplesOfPrompt]
    counts: Counts
    made: Made

    @model_validator(mode="after")
    def _has_what_is_drawn(self):
        missing = [name for name in NEEDED if name not in self.metrics]
        if missing:
            raise ValueError(f"metrics without {', '.join(missing)}")
        return self


class Sweep(Strict):
    """A sweep's finished rows by name."""

    sweep: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]  # names files too
    study: str
    models: dict[str, Any]
    rows: Annotated[dict[str, Row], Field(min_length=1)]


def read_sweeps(names: list[str], folder: Path = FOLDER) -> list[Sweep]:
    """The named sweeps, or all that have results, by name.

    Raises `UserError` when there is none, or a file is missing, not JSON or of another format.
    """
    known = sorted(path.stem for path in folder.glob("*.json"))
    if not known:
        raise UserError(f"{folder}: no results; run `make sweep SWEEP=NAME` first")
    for name in names:
        if name not in known:
            raise UserError(f"{name}: no results in {folder}; choose from {', '.join(known)}")
    return [_read(folder / f"{name}.json") for name in dict.fromkeys(names or known)]


def _read(path: Path) -> Sweep:
    try:
        return Sweep.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise UserError(
            f"{path}: {first_problem(error)}; restore it from Git or delete it and run the sweep"
        ) from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
