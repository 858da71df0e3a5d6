"""The results of a sweep: a folder experiments/results/SWEEP with a JSON file for each row.

Whoever ran a row writes its file whole and waits for nobody; rows of two machines merge in Git; and
10,000 rows add 10,000 files once, where one file of all would be committed anew after each. What
the rows of a seed share, the reference's scores, is in a file named by its content.
"""

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from experiments.row_records import ReferenceResults, RowResults, SweepResults
from fdpo.core.errors import UserError
from fdpo.core.files import replacing
from fdpo.core.validation import problems

SWEEP_RESULTS = Path("experiments/results")


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
