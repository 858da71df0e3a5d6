"""Rows of text from a Hub dataset or a local file, with the columns that are asked for."""

import hashlib
import json
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from fdpo.core.errors import UserError
from fdpo.sources.hub import Origin, fetch_dataset

DatasetRow = dict[str, Any]
FILE_TYPES = (".jsonl", ".parquet")


def read(
    source: str, revision: str, columns: Sequence[str]
) -> tuple[dict[str, list[DatasetRow]], Origin]:
    """The splits of a dataset, each a list of rows with just `columns`, and where they come from.

    `source` is a Hub dataset "user/name", read at `revision`, or a JSON Lines or Parquet file. A
    file is one split, `train`, and its `Origin` has the file's sha256 as commit. Raises `UserError`
    when it is missing, can't be read or lacks a column.
    """
    if source.endswith(FILE_TYPES):
        return {"train": read_file(Path(source), columns)}, _file_source(source)
    return read_hub(source, revision, columns)


def read_hub(
    repo: str, revision: str, columns: Sequence[str], splits: Sequence[str] | None = None
) -> tuple[dict[str, list[DatasetRow]], Origin]:
    """Like `read`, for a Hub dataset; `splits` names those wanted, by default all."""
    # The files are fetched and checked first, then `datasets` reads their layout off the network.
    with tempfile.TemporaryDirectory() as scratch:
        files = Path(scratch, "files")
        source = fetch_dataset(repo, revision, files)
        place = f"dataset {repo} at revision {revision}"
        found = _load(files, Path(scratch, "cache"), place)
        rows = {}
        for split in splits or found:
            if split not in found:
                raise UserError(f"{place}: no split {split!r}; it has {', '.join(found)}")
            _require(found[split].column_names, columns, f"{place}, split {split}")
            rows[split] = found[split].select_columns(list(columns)).to_list()
    return rows, source


def read_file(path: Path, columns: Sequence[str]) -> list[DatasetRow]:
    """The rows of one JSON Lines (.jsonl) or Parquet (.parquet) file, as `read` gives them."""
    if not path.is_file():
        raise UserError(f"{path}: missing; name a file, or a Hub dataset as user/name")
    if path.suffix == ".parquet":
        return _parquet_rows(path, columns)
    rows = [_json_row(line, f"{path}:{i}") for i, line in enumerate(path.open("rb"), start=1)]
    for number, row in enumerate(rows, start=1):
        _require(row, columns, f"{path}:{number}")
    return [{column: row[column] for column in columns} for row in rows]


def _json_row(line: bytes, place: str) -> DatasetRow:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise UserError(f"{place}: not JSON ({error}); correct the line") from None
    if not isinstance(row, dict):
        raise UserError(f"{place}: not a JSON object; correct the line")
    return row


def _parquet_rows(path: Path, columns: Sequence[str]) -> list[DatasetRow]:
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(path)
    except (pyarrow.ArrowException, OSError) as error:
        raise UserError(f"{path}: not a Parquet file ({' '.join(str(error).split())})") from None
    _require(table.column_names, columns, str(path))
    return table.select(list(columns)).to_pylist()


def _load(files: Path, cache: Path, place: str) -> Any:
    """`datasets.load_dataset` of a folder; a mapping from split to its rows."""
    import datasets
    from datasets.exceptions import DatasetsError

    try:
        return datasets.load_dataset(str(files), cache_dir=str(cache))
    except (DatasetsError, ValueError, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{place}: can't be read ({reason}); name another dataset") from None


def _require(present: Iterable[str], columns: Sequence[str], place: str) -> None:
    for column in columns:
        if column not in present:
            raise UserError(
                f"{place}: no column {column!r}; it has {', '.join(present)},"
                f" and needs {', '.join(columns)}"
            )


def _file_source(path: str) -> Origin:
    with open(path, "rb") as content:
        return Origin(path, "local file", hashlib.file_digest(content, "sha256").hexdigest())
