"""Files of the user's own: what is read of them, and the line that a damaged one ends in."""

import gzip
import json
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from fdpo.config.sources import LocalFile
from fdpo.core.errors import UserError
from fdpo.sources.dataset_rows import read_file

LINE = '{"prompt": "It was caf\u00e9", "n": 1}\n'
TABLE = "prompt,n\nIt was caf\u00e9,1\n"
UTF_16 = "holds a NUL byte, which no text in UTF-8 does (UTF-16 has them); save it as UTF-8 without"


def read(path: Path, columns: tuple[str, ...] = ("prompt",)) -> list[dict]:
    return read_file(LocalFile(path=str(path)), columns)


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("a.jsonl", (LINE * 2).encode() + b"\xff\n", ":3: not text in UTF-8 ("),
        ("a.jsonl", LINE.encode("latin-1"), ":1: not text in UTF-8 ("),
        ("a.csv", TABLE.encode("latin-1"), ":2: not text in UTF-8 ("),
        ("a.json", f"[{LINE}]".encode("cp1252"), ":1: not text in UTF-8 ("),
        ("a.csv", TABLE.encode("utf-16"), ":1: not text in UTF-8 ("),
        ("a.csv", b"prompt\nfine\n".decode().encode("utf-16-le"), f":1: {UTF_16}"),
        ("a.jsonl", b'{"prompt": "a"}\n'.decode().encode("utf-16-be"), f":1: {UTF_16}"),
        ("a.csv", TABLE.encode() + b"a\0b,2\n", f":3: {UTF_16}"),
        ("a.jsonl", LINE.encode() + b'{"prompt": "a\0b"}\n', f":2: {UTF_16}"),
        ("a.jsonl", LINE.encode() + b'{"prompt": "a\x01b"}\n', ":2: not JSON (Invalid control"),
        ("a.jsonl", LINE.encode() + b'{"prompt": "\\ud800"}\n', ":2: holds a lone surrogate"),
        ("a.csv", TABLE.encode() + b'"b,2\n', ":3: not CSV (unexpected end of data); correct it"),
        ("a.csv", TABLE.encode() + b'"b"c,2\n', ":3: not CSV (',' expected after '\"'); corr"),
        (
            "a.csv.gz",
            gzip.compress(TABLE.encode(), mtime=0)[:-9],
            ": can't be read (Compressed file ended",
        ),
        ("a.csv.gz", b"\x1f\x8b\x08" + b"\0" * 6 + b"\xff" * 40, ": can't be read (Error -3 whi"),
        ("a.jsonl.gz", b"no gzip", ": can't be read (Not a gzipped file"),
        ("a.parquet", b"", ": not a Parquet file (Parquet file size is 0 bytes)"),
    ],
)
def test_a_damaged_file_is_one_line_with_the_place(tmp_path, name, content, problem):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError) as refused:
        read(tmp_path / name)
    assert len(refused.value.lines) == 1
    assert str(refused.value).startswith(f"{tmp_path / name}{problem}")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize(("name", "content"), [("a.jsonl", LINE), ("a.csv", TABLE)])
def test_a_text_is_read_as_it_is(tmp_path, name, content, encoding):
    (tmp_path / name).write_bytes(content.encode(encoding))
    (row,) = read(tmp_path / name)
    assert (row["prompt"], str(row["n"])) == ("It was café", "1")


def test_control_characters_and_long_texts_stay_as_they_are(tmp_path):
    text = "x" * 200_000 + "\x01\x0b\x0c\x1b\x1c\x85\u2028\r"
    (tmp_path / "a.csv").write_bytes(f'prompt\n"{text}"\n'.encode())
    (tmp_path / "a.jsonl").write_text(json.dumps({"prompt": text}) + "\n")
    assert read(tmp_path / "a.csv") == read(tmp_path / "a.jsonl") == [{"prompt": text}]


def test_of_parquet_the_wanted_columns_are_read_alone(tmp_path):
    """Python has no date for some that Parquet can hold."""
    far = pyarrow.array([2**50], pyarrow.timestamp("ms"))
    text = pyarrow.array(["a"])
    path = tmp_path / "a.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"prompt": text, "when": far}), path)
    assert read(path) == [{"prompt": "a"}]
    with pytest.raises(UserError, match=r"not a Parquet file \(date value out of range"):
        read(path, ("prompt", "when"))
    twice = pyarrow.Table.from_arrays([text, text], names=["prompt", "prompt"])
    pyarrow.parquet.write_table(twice, path)
    with pytest.raises(UserError, match="column 'prompt' occurs twice; rename one of them"):
        read(path)
