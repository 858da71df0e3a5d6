"""The results of a sweep: a folder experiments/results/SWEEP with a JSON file for each row.

Whoever ran a row writes its file whole and waits for nobody; rows of two machines merge in Git; and
10,000 rows add 10,000 files once, where one file of all would be committed anew after each. What
the rows of a seed share, the reference's scores, is in a file named by its content.
"""

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from fdpo.core.errors import UserError
from fdpo.core.files import replacing
from fdpo.core.records import SamplesOfPrompt
from fdpo.core.validation import Strict, problems
from fdpo.evaluation.metrics.intervals import Interval

SWEEP_RESULTS = Path("experiments/results")
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


def sweeps_with_results(folder: Path = SWEEP_RESULTS) -> list[str]:
    """The names of the sweeps that have finished rows."""
    return sorted({path.parent.name for path in folder.glob("*/*.json")})


def load_rows(sweep: str, folder: Path = SWEEP_RESULTS) -> SweepResults:
    """The results of a sweep, its rows by name.

    Raises `UserError` where there are none, where a file is not as it was written, or where rows
    are of two studies and can't be compared.
    """
    rows = {path.stem: read_row(path) for path in sorted((folder / sweep).glob("[!.]*.json"))}
    if not rows:
        known = ", ".join(sweeps_with_results(folder)) or "none"
        raise UserError(f"{sweep}: no results in {folder}, which has {known}; run the sweep first")
    studies = {row.study: row.models for row in rows.values()}
    if len(studies) > 1:
        raise UserError(f"{folder / sweep}: rows of several studies: {', '.join(studies)}")
    digests = {row.reference for row in rows.values() if row.reference}
    references = {
        name: _read(folder / sweep / "references" / f"{name}.json", ReferenceResults)
        for name in sorted(digests)
    }
    [(study, models)] = studies.items()
    return SweepResults(sweep=sweep, study=study, models=models, rows=rows, references=references)


def row_file(sweep: str, row: str) -> Path:
    """The file of one row, finished or not."""
    return SWEEP_RESULTS / sweep / f"{row}.json"


def read_row(path: Path) -> RowResults:
    """One row's results. Raises `UserError` where the file is not as it was written."""
    return _read(path, RowResults)


def files_of(row: Path) -> list[Path]:
    """The files of a finished row: its reference's, which others share, and its own."""
    return [row.parent / "references" / f"{read_row(row).reference}.json", row]


def write_row(path: Path, row: RowResults, reference: ReferenceResults) -> None:
    """Write a row's file, and before it its reference's."""
    _write(path.parent / "references" / f"{reference.digest}.json", reference)
    _write(path, row)


def _read(path: Path, kind: type[BaseModel]) -> Any:
    try:
        return kind.model_validate_json(path.read_bytes())
    except (ValidationError, OSError) as error:
        said = problems(error)[0] if isinstance(error, ValidationError) else error.strerror
        raise UserError(f"{path}: {said}; restore it with `git checkout`, or run the row") from None


def _write(path: Path, content: BaseModel) -> None:
    """JSON with sorted keys, and a line for each key at the top, so that Git shows what changed."""
    lines = (
        f"{json.dumps(key)}: {json.dumps(value, sort_keys=True, ensure_ascii=False)}"
        for key, value in sorted(content.model_dump().items())
    )
    with replacing(path) as scratch:
        scratch.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
