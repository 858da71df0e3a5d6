"""What a finished row holds: the contract between the sweep, which writes it, and the report."""

import hashlib
from typing import Annotated, Any

from pydantic import ConfigDict, Field, StringConstraints

from fdpo.baselines.intervals import Interval
from fdpo.core.records import SamplesOfPrompt
from fdpo.core.validation import Strict

# Of names, which stand in files, commands, tables and pictures.
Word = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
SampleValues = list[list[float]]  # [prompts, samples]


class RowParams(Strict):
    """What tells a row from the others; further keys override the study's, by dotted path."""

    model_config = ConfigDict(extra="allow")

    loss: Word
    beta: Annotated[float, Field(gt=0)]
    alpha: float
    lr: float
    seed: int

    @property
    def overrides(self) -> dict[str, Any]:
        """Values that the sweep sets in the study's file, by dotted path."""
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
    """Where a row's numbers come from. Their last digits follow the processor and the threads.

    `experiment` is the Git commit that DVC keeps the row as. Time and machine are None in older
    results that were read from a finished experiment.
    """

    commit: str
    experiment: str
    name: str | None = None
    seconds: float | None
    python: str | None
    packages: dict[str, str] | None
    processor: str | None = None
    machine: str | None


class HeldoutScores(Strict):
    """The scores of every held-out sample of a row's policy, and its KL and entropy."""

    reward: SampleValues
    judge: SampleValues | None = None  # where the study has a judge
    kl: SampleValues  # nats per completion
    entropy: SampleValues  # nats per token


class ReferenceResults(Strict):
    """What rows are compared with: the reference's held-out samples, and its baselines."""

    prompts: list[int]  # ids
    reward: SampleValues
    judge: SampleValues | None = None  # where the study has a judge
    baselines: list[dict[str, Any]]  # as in results/baselines.json

    @property
    def digest(self) -> str:
        """What rows name it by: equal content has equal names."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:12]


class RowResults(Strict):
    """One finished row; `metrics` are all that evaluation wrote, `models` their source.json."""

    study: Word
    params: RowParams
    metrics: dict[str, Interval]
    calibration: list[CalibrationBin]
    curves: dict[str, list[tuple[int, float | None]]]  # [step, value]; None: not a number
    samples: list[SamplesOfPrompt]
    counts: RowCounts
    models: dict[str, Any]
    made: Provenance
    heldout: HeldoutScores | None = None  # None, as `reference`, in results of before it was kept
    reference: str | None = None


class SweepResults(Strict):
    """A sweep's finished rows by name, and what they are compared with, by digest."""

    sweep: Word
    study: Word
    models: dict[str, Any]
    rows: dict[Word, RowResults]
    references: dict[str, ReferenceResults] = Field(default_factory=dict)

    @property
    def reference_by_seed(self) -> dict[int, ReferenceResults]:
        """The reference's own results by seed: the first row's, where machines made several."""
        rows = reversed(self.rows.values())
        return {x.params.seed: self.references[x.reference] for x in rows if x.reference}
