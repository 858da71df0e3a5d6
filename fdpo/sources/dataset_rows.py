"""Rows of a Hub dataset or a local file, with the columns that are asked for."""

import csv
import gzip
import io
import json
import sys
import tempfile
import zlib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from fdpo.config.sources import Data
from fdpo.core.errors import UserError
from fdpo.core.local_files import local_file, sha256_of
from fdpo.core.origin import Origin
from fdpo.core.weights import short_message
from fdpo.sources.hub import fetch_dataset

DatasetRow = dict[str, Any]
NUL = "\0"  # which some tokenizers drop from a text
FORMATS = ("parquet", "json", "csv", "arrow")  # of a dataset's files; none can hold code


class BadRow(ValueError):
    """Why a row is not what a source needs."""


def read(
    data: Data, columns: Iterable[str], splits: Sequence[str]
) -> tuple[dict[str, list[tuple[int, DatasetRow]]], Origin]:
    """The rows that `where` keeps of the wanted splits that there are, and where they come from.

    Args:
        data: a dataset of the Hub, or a file, which is one split, `train`.
        columns: names, or paths such as `info.post`, that the data must have.
        splits: names of splits; those that `data` does not have are left out.

    Returns: each row with its number in its split, from 1.

    Raises:
        UserError: the data are missing, can't be read, lack a column or have none of the splits.
    """
    columns = [*columns, *data.where]
    if data.path:
        of_file, origin = read_file(data, columns)
        rows, where, present = {"train": of_file}, data.path, ["train"]
    else:
        where = f"dataset {data.repo} at revision {data.revision}"
        rows, origin, present = _read_hub(data, columns, splits, where)
    if not any(rows.get(split) for split in splits):
        names = " or ".join(splits)
        raise UserError(f"{where}: no rows in a split named {names}; it has {', '.join(present)}")
    wanted = {
        split: [row for row in enumerate(rows[split], start=1) if matches(row[1], data.where)]
        for split in splits
        if rows.get(split)
    }
    return wanted, origin


def value_at(row: Mapping[Any, Any], path: str) -> Any:
    """The value of a column, or of a part of one: `info.post`, `summaries.0.text`.

    The part of a list is one item by its place, or by a name that of each. Raises `BadRow` where
    there is none, and for a row of CSV with fields that have no column: its text has a comma and no
    quotes, and would end there.
    """
    if None in row:
        raise BadRow("has more fields than there are columns; quote a field that holds a comma")
    if path in row:
        return row[path]
    value: Any = row
    for key in path.split("."):
        try:
            if isinstance(value, dict) and key.isdecimal() and key not in value:
                value = {name: items[int(key)] for name, items in value.items()}  # a list's columns
            elif isinstance(value, list):
                value = value[int(key)] if key.isdecimal() else [item[key] for item in value]
            else:
                value = value[key]
        except (KeyError, TypeError, IndexError):
            raise BadRow(f"no {path}") from None
    return value


def text_of(value: Any, column: str) -> str:
    """A text of a row. Raises `BadRow` where the value is none, is empty or holds a NUL."""
    if not isinstance(value, str) or not value:
        raise BadRow(f"{column} = {value!r:.80}: must be text, and not empty")
    if NUL in value:
        raise BadRow(f"{column} holds a NUL character")
    return value


def matches(row: Mapping[Any, Any], where: Mapping[str, Any]) -> bool:
    """Whether the row has these values; a file of text, such as CSV, has numbers as text."""
    try:
        return all(same(value_at(row, path), wanted) for path, wanted in where.items())
    except BadRow:
        return False


def same(value: Any, wanted: str | int | float | bool) -> bool:
    """Whether two values are equal, or one is the text that spells the other.

    Numbers are compared exactly: floats confuse ids above 2⁵³.
    """
    if isinstance(value, str) and isinstance(wanted, str):
        return value == wanted
    spelled = [str(side).casefold() for side in (value, wanted)]
    if spelled[0] == spelled[1] and value is not None:
        return True
    numbers = [str(int(side)) if isinstance(side, bool) else str(side) for side in (value, wanted)]
    if any(not number.isascii() or "_" in number for number in numbers):
        return False  # ids, which Python would take for numbers
    try:
        return Decimal(numbers[0]) == Decimal(numbers[1])
    except ArithmeticError:
        return False


def read_file(file: Data, columns: Sequence[str]) -> tuple[list[DatasetRow], Origin]:
    """The rows of one JSON Lines, JSON, CSV or Parquet file, the first three also gzipped.

    Raises `UserError` with the line that can't be read, or when it is not the pinned file.
    """
    path, stored, digest = file.path, local_file(file.path), sha256_of(file.path)
    if file.sha256 not in (None, digest):
        raise UserError(
            f"{path}: not the file that the study means: its sha256 is {digest};"
            " write that there if you changed it, or leave sha256 out"
        )
    if path.endswith(".parquet"):
        rows = _parquet_rows(path, stored, columns)
    elif rows := _text_rows(path, stored):
        names = dict.fromkeys(name for row in rows for name in row if name is not None)
        _require(list(names), columns, path)
    return rows, {"repo": path, "revision": "local file", "commit": digest}


def _text_rows(path: str, stored: Path) -> list[DatasetRow]:
    number = 0  # of the line at fault, where the error has no place of its own
    try:
        content = stored.read_bytes()
        text = (gzip.decompress(content) if path.endswith(".gz") else content).decode("utf-8-sig")
        if NUL in text:
            number = text[: text.index(NUL)].count("\n") + 1
            raise ValueError("a NUL byte, as in UTF-16; save it as UTF-8 without")
        kind = Path(path.removesuffix(".gz")).suffix
        if kind == ".csv":
            csv.field_size_limit(sys.maxsize)  # a text may be long
            table = csv.DictReader(io.StringIO(text, newline="\n"), strict=True)
            _require_once(table.fieldnames or [], path)
            rows = []
            number = table.line_num + 1
            for row in table:
                rows.append(row)
                number = table.line_num + 1  # where the next row begins
            return rows
        if kind == ".jsonl":
            rows = []
            for line in text.split("\n"):
                number += 1
                if line.strip():
                    rows.append(_object(json.loads(line), "it"))
            return rows
        listed = json.loads(text)
        if not isinstance(listed, list):
            raise ValueError("it is no list of objects; one object per line is .jsonl")
        return [_object(row, f"row {i}") for i, row in enumerate(listed, start=1)]
    except (ValueError, RecursionError, csv.Error, EOFError, OSError, zlib.error) as error:
        if isinstance(error, UnicodeDecodeError):
            number = error.object[: error.start].count(b"\n") + 1
        where = f"{path}:{number}" if number else path
        raise UserError(f"{where}: can't be read ({short_message(error)}); correct it") from None


def _object(row: Any, name: str) -> DatasetRow:
    if not isinstance(row, dict):
        raise ValueError(f"{name} is not a JSON object")
    json.dumps(row, ensure_ascii=False).encode()  # JSON can write half of a character, UTF-8 can't
    return row


def _parquet_rows(path: str, stored: Path, columns: Sequence[str]) -> list[DatasetRow]:
    """The rows, with the wanted columns alone: others may hold what Python has no value for."""
    import pyarrow
    import pyarrow.parquet

    try:
        with stored.open("rb") as content:
            table = pyarrow.parquet.ParquetFile(content).read()
    except (pyarrow.ArrowException, OSError) as error:
        raise UserError(f"{path}: not a Parquet file ({short_message(error)})") from None
    names = _require(table.column_names, columns, path)
    _require_once([name for name in table.column_names if name in names], path)
    values = {}
    for name in names:
        try:
            table[name].validate(full=True)  # which names the row of a text that is not UTF-8
            values[name] = table[name].to_pylist()
        except (pyarrow.ArrowException, ValueError, OverflowError) as error:
            message = short_message(error)
            raise UserError(f"{path}: column {name!r} can't be read ({message})") from None
    return [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]


def _require_once(names: Iterable[str], where: str) -> None:
    for name, count in Counter(names).items():
        if count > 1:
            raise UserError(f"{where}: column {name!r} occurs twice; rename one of them")


def _read_hub(
    data: Data, columns: Sequence[str], splits: Sequence[str], where: str
) -> tuple[dict[str, list[DatasetRow]], Origin, list[str]]:
    # The files are fetched and checked first, then `datasets` reads their layout off the network.
    with tempfile.TemporaryDirectory() as scratch:
        files = Path(scratch, "files").resolve()
        origin = fetch_dataset(data.repo, data.revision, files)
        tables = _load(files, data.config, Path(scratch, "cache"), where)
        rows = {}
        for split in set(splits).intersection(tables):
            present = tables[split].column_names
            names = _require(present, columns, f"{where}, split {split}")
            # As arrow has it: no feature, such as an image, is decoded, which may read a file.
            table = tables[split].select_columns(names).with_format("arrow")[:]
            rows[split] = table.to_pylist()
        return rows, origin, list(tables)


def _load(files: Path, config: str | None, cache: Path, where: str) -> Any:
    """`datasets.load_dataset` of a folder: a mapping from split to its rows."""
    import datasets

    try:
        builder = datasets.load_dataset_builder(str(files), config, cache_dir=str(cache))
        for paths in (builder.config.data_files or {}).values():
            for path in paths:
                if not Path(path).resolve().is_relative_to(files):
                    raise UserError(
                        f"{where}: its card names {path!r}, no file of the dataset's own"
                    )
        kind = type(builder).__module__.split(".")[-2]
        if kind not in FORMATS:
            raise UserError(f"{where}: its files are {kind}; they must be {', '.join(FORMATS)}")
        builder.download_and_prepare()
        return builder.as_dataset()
    except UserError:
        raise
    except Exception as error:  # what a damaged file or card leads to is not documented
        message = short_message(error)
        raise UserError(f"{where}: can't be read ({message}); name another dataset") from None


def _require(present: Collection[str], columns: Sequence[str], where: str) -> list[str]:
    """The different names that the columns, some of them paths, begin with; all must be there."""
    names = [column if column in present else column.partition(".")[0] for column in columns]
    for name in names:
        if name not in present:
            raise UserError(
                f"{where}: no column {name!r}; it has {', '.join(map(str, present)) or 'none'},"
                f" and needs {', '.join(columns)}"
            )
    return list(dict.fromkeys(names))
