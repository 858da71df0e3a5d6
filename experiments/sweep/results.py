"""What a sweep's results file, experiments/results/SWEEP.json, holds; read and written here."""

import hashlib
import json
from itertools import chain
from pathlib import Path
from typing import Annotated, Any

from pydantic import ConfigDict, Field, StringConstraints, ValidationError, model_validator

from fdpo.core.errors import UserError
from fdpo.core.files import distinct_keys, replacing
from fdpo.core.records import SamplesOfPrompt
from fdpo.core.validation import Strict, first_problem
from fdpo.baselines.intervals import Interval

SWEEP_RESULTS = Path("experiments/results")
# What the report compares rows by; evaluation always measures these.
NEEDED_METRICS = (
    "reward",
    "reward_difference",
    "kl",
    "entropy",
    "distinct_2",
)


# Of names, which stand in commands, tables and pictures.
Word = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]+$")]
SWEEP_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"  # in the names of files too


class RowParams(Strict):
    """What tells a row from the others; further keys are overrides by dotted path."""

    model_config = ConfigDict(extra="allow")

    loss: Word
    beta: Annotated[float, Field(gt=0)]
    alpha: float
    lr: float | str
    seed: int

    @property
    def overrides(self) -> dict[str, Any]:
        """Values of params.yaml that the sweep sets besides the comparison, by dotted path."""
        return dict(self.model_extra or {})


class CalibrationBin(Strict):
    """A bin of stated probabilities: their mean, the share that came true, how many pairs."""

    confidence: float
    accuracy: float
    count: int


class RowCounts(Strict):
    """How much a row was trained and measured on."""

    train_pairs: int
    test_pairs: int
    heldout_prompts: int
    samples: int


class Provenance(Strict):
    """Where a row's numbers come from: the commit it ran from and the experiment's own.

    Time, versions and machine are None where the row was taken from a finished experiment, which
    another machine may have run.
    """

    commit: str
    experiment: str
    name: str | None = None
    seconds: float | None
    python: str | None
    packages: dict[str, str] | None
    machine: str | None


SampleValues = list[list[float]]  # [prompts, samples]


class HeldoutScores(Strict):
    """The scores of every held-out sample of a row's policy, and its KL and entropy."""

    reward: SampleValues
    judge: SampleValues | None = None  # where the study has a judge
    kl: SampleValues  # nats per completion
    entropy: SampleValues  # nats per token


class ReferenceResults(Strict):
    """What rows are compared with: the reference's held-out samples, and its baselines.

    The rows of a seed share it, unless their params change the data. `prompts` are ids;
    `baselines` are the entries of results/baselines.json, where the study has them.
    """

    prompts: list[int]
    reward: SampleValues
    judge: SampleValues | None = None  # where the study has a judge
    baselines: list[dict[str, Any]]

    @property
    def digest(self) -> str:
        """What rows name it by: equal content has equal names."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:12]


class RowResults(Strict):
    """One finished experiment.

    `heldout` and `reference`, the name of a `ReferenceResults`, are None in results of before they
    were kept.
    """

    params: RowParams
    metrics: dict[str, Interval]
    calibration: list[CalibrationBin]
    curves: dict[str, list[tuple[int, float | None]]]  # [step, value]; None: not a number
    samples: list[SamplesOfPrompt]
    counts: RowCounts
    made: Provenance
    heldout: HeldoutScores | None = None
    reference: str | None = None

    @model_validator(mode="after")
    def _has_what_is_compared(self):
        missing = [name for name in NEEDED_METRICS if name not in self.metrics]
        if missing:
            raise ValueError(f"metrics without {', '.join(missing)}")
        return self


class SweepResults(Strict):
    """A sweep's finished rows by name, and what its study was made of."""

    sweep: Annotated[str, Field(pattern=SWEEP_NAME)]
    study: Word
    models: dict[str, Any]
    references: dict[str, ReferenceResults] = Field(default_factory=dict)
    rows: Annotated[dict[Word, RowResults], Field(min_length=1)]

    @property
    def reference_by_seed(self) -> dict[int, ReferenceResults]:
        """The reference's own results, once for each seed.

        Rows of one seed have one reference, unless machines made them whose last digits differ;
        then it is the first row's.
        """
        return {
            row.params.seed: self.references[row.reference]
            for row in reversed(self.rows.values())
            if row.reference is not None
        }

    @model_validator(mode="after")
    def _references_fit(self):
        for name, row in self.rows.items():
            if row.reference is None:
                continue
            reference = self.references.get(row.reference)
            if reference is None:
                raise ValueError(f"rows.{name}.reference = {row.reference!r}: not in references")
            if row.heldout is None or any(
                values is not None and len(values) != len(reference.prompts)
                for values in vars(row.heldout).values()
            ):
                raise ValueError(f"rows.{name}.heldout: not one entry for each prompt")
        return self


def read_results(path: Path) -> SweepResults:
    """Read one results file.

    Raises `UserError` when it cannot be read or does not have this format.
    """
    try:
        content = path.read_bytes()
        results = SweepResults.model_validate_json(content)
        json.loads(content, object_pairs_hook=distinct_keys)
        return results
    except ValueError as error:  # pydantic's among them
        problem = first_problem(error) if isinstance(error, ValidationError) else error
        raise UserError(
            f"{path}: {problem}; restore it with `git checkout {path}`, or move it away and run"
            " the sweep"
        ) from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None


def write_results(path: Path, results: SweepResults) -> None:
    """Write one results file, whole or not at all, with a line for each row and reference."""
    parts = []
    for key, value in sorted(results.model_dump().items()):
        if key in ("references", "rows"):
            lines = (f"{_json(name)}: {_json(entry)}" for name, entry in sorted(value.items()))
            parts.append(f"{_json(key)}: {{\n" + ",\n".join(lines) + "\n}")
        else:
            parts.append(f"{_json(key)}: {_json(value)}")
    with replacing(path) as scratch:
        scratch.write_text("{\n" + ",\n".join(parts) + "\n}\n", encoding="utf-8")


def _json(value: Any) -> str:
    return json.dumps(
        value, sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":")
    )


def read_sweeps(names: list[str], folder: Path = SWEEP_RESULTS) -> list[SweepResults]:
    """The results of the named sweeps, or of all that have some, by name.

    Raises `UserError` when there are none, or a file is missing or has another format.
    """
    available = sorted(path.stem for path in folder.glob("*.json"))
    if not available:
        raise UserError(f"{folder}: no results; run `make sweep SWEEP=NAME` first")
    for name in names:
        if name not in available:
            raise UserError(f"{name}: no results in {folder}; choose from {', '.join(available)}")
    return [read_results(folder / f"{name}.json") for name in dict.fromkeys(names or available)]


def differences(before: RowResults, now: RowResults) -> tuple[list[str], int]:
    """Names of the measured values that are not exactly equal, and how many were compared."""
    old, new = (
        dict(_flat(row.model_dump(exclude={"params", "made"}), "")) for row in (before, now)
    )
    names = sorted(old.keys() | new.keys())
    missing = object()
    return [name for name in names if old.get(name, missing) != new.get(name, missing)], len(names)


def _flat(value: Any, name: str) -> list[tuple[str, Any]]:
    """The single values in nested maps and lists, each with its dotted name."""
    if isinstance(value, dict):
        prefix = f"{name}." if name else ""
        return list(chain(*(_flat(item, f"{prefix}{key}") for key, item in value.items())))
    if isinstance(value, list | tuple):
        return list(chain(*(_flat(item, f"{name}[{i}]") for i, item in enumerate(value))))
    return [(name, value)]
