"""The results of a sweep: a folder experiments/results/SWEEP with a JSON file for each row.

Whoever ran a row writes its file whole and waits for nobody; rows of two machines merge in Git; and
10,000 rows add 10,000 files once, where one file of all would be committed again after each. What
the rows of a seed share, the reference's scores, is in a file named by its content.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from fdpo.baselines.intervals import Interval
from fdpo.core.errors import UserError
from fdpo.core.files import replacing
from fdpo.core.records import SamplesOfPrompt
from fdpo.core.validation import Strict, problems

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
    calibration: list[dict[str, Any]]  # as in results/evaluate/calibration.json
    curves: dict[str, list[tuple[int, float | None]]]  # [step, value]; None: not a number
    samples: list[SamplesOfPrompt]
    counts: dict[str, int]  # of train_pairs, test_pairs, heldout_prompts and samples
    models: dict[str, Any]
    # Commit, experiment, time, packages, processor and threads; digits follow the last two.
    made: dict[str, Any]
    # Of every sample, by score; None, as `reference`, in results of before they were kept.
    heldout: dict[str, SampleValues | None] | None = None
    reference: str | None = None


@dataclass(frozen=True)
class SweepResults:
    """A sweep's finished rows by name, and what they are compared with, by digest."""

    sweep: str
    study: str
    rows: dict[str, RowResults]
    references: dict[str, ReferenceResults]

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
    are of two studies, or of other models or texts, and can't be compared.
    """
    rows = {path.stem: read_row(path) for path in sorted((folder / sweep).glob("[!.]*.json"))}
    if not rows:
        known = ", ".join(sweeps_with_results(folder)) or "none"
        raise UserError(f"{sweep}: no results in {folder}, which has {known}; run the sweep first")
    study, models = next((row.study, row.models) for row in rows.values())
    for name, row in rows.items():
        if (row.study, row.models) != (study, models):
            said = f"{row.study} with {row.models}, others {study} with {models}; remove one"
            raise UserError(f"{row_file(sweep, name)}: {said}")
    digests = sorted({row.reference for row in rows.values() if row.reference})
    references = {x: _read(_reference_file(folder / sweep, x), ReferenceResults) for x in digests}
    return SweepResults(sweep, study, rows, references)


def row_file(sweep: str, row: str) -> Path:
    """The file of one row, finished or not."""
    return SWEEP_RESULTS / sweep / f"{row}.json"


def read_row(path: Path) -> RowResults:
    """One row's results. Raises `UserError` where the file is not as it was written."""
    return _read(path, RowResults)


def files_of(row: Path) -> list[Path]:
    """The files of a finished row: its reference's, which others share, and its own."""
    return [_reference_file(row.parent, read_row(row).reference), row]


def write_row(path: Path, row: RowResults, reference: ReferenceResults) -> None:
    """Write a row's file, and before it its reference's.

    A line for each key at the top, so that Git shows what changed.
    """
    files = {_reference_file(path.parent, reference.digest): reference, path: row}
    for file, content in files.items():
        lines = (
            f"{json.dumps(key)}: {json.dumps(value, sort_keys=True, ensure_ascii=False)}"
            for key, value in sorted(content.model_dump().items())
        )
        with replacing(file) as scratch:
            scratch.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def _reference_file(folder: Path, digest: str | None) -> Path:
    return folder / "references" / f"{digest}.json"


def _read(path: Path, kind: type[BaseModel]) -> Any:
    try:
        return kind.model_validate_json(path.read_bytes())
    except (ValidationError, OSError) as error:
        said = problems(error)[0] if isinstance(error, ValidationError) else error.strerror
        raise UserError(f"{path}: {said}; restore it with `git checkout`, or run the row") from None
