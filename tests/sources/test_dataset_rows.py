"""Local files: what is read of them, and the line that a damaged one ends in."""

import gzip
import json
import re
from decimal import Decimal
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from fdpo.config.sources import Data, Prompts
from fdpo.core.errors import UserError
from fdpo.core.validation import problems
from fdpo.sources.dataset_rows import read, read_file

LINE = '{"prompt": "It was caf\u00e9", "n": 1}\n'
TABLE = "prompt,n\nIt was caf\u00e9,1\n"


def rows_of(path: Path, columns: tuple[str, ...] = ("prompt",)) -> list[dict]:
    return read_file(Data(path=str(path)), columns)[0]


@pytest.mark.parametrize(
    ("name", "content", "line", "problem"),
    [
        ("a.jsonl", (LINE * 2).encode() + b"\xff\n", 3, "'utf-8' codec can't decode"),
        ("a.csv", TABLE.encode("latin-1"), 2, "'utf-8' codec can't decode"),
        ("a.csv", TABLE.encode("utf-16"), 1, "'utf-8' codec can't decode"),
        ("a.csv", "prompt\nfine\n".encode("utf-16-le"), 1, "a NUL byte, as in UTF-16"),
        ("a.csv", TABLE.encode() + b"a\0b,2\n", 3, "a NUL byte, as in UTF-16"),
        ("a.jsonl", LINE.encode() + b'{"prompt": "a\x01b"}\n', 2, "Invalid control"),
        ("a.jsonl", LINE.encode() + b'{"prompt": "\\ud800"}\n', 2, ".* surrogates not allowed"),
        ("a.jsonl", b"[1]\n", 1, "it is not a JSON object"),
        ("a.json", b"[{}, 1]", None, "row 2 is not a JSON object"),
        ("a.json", b'{"a": 1}', None, "it is no list of objects; one object per line is .jsonl"),
        ("a.jsonl", LINE.encode()[:20], 1, "Unterminated string"),
        ("a.jsonl", b"[" * 100_000, 1, "maximum recursion depth"),
        ("a.csv", TABLE.encode() + b'"b,2\nc,3\n', 3, "unexpected end of data"),
        ("a.csv", TABLE.encode() + b'"b"c,2\n', 3, "',' expected after '\"'"),
        ("a.csv.gz", gzip.compress(b"a", mtime=0)[:-9], None, "Compressed file ended"),
        ("a.csv.gz", b"\x1f\x8b\x08" + b"\0" * 6 + b"\xff" * 40, None, "Error -3 whi"),
        ("a.jsonl.gz", b"no gzip", None, "Not a gzipped file"),
    ],
)
def test_a_damaged_file_is_one_line_with_the_place(tmp_path, name, content, line, problem):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UserError) as refused:
        rows_of(path)
    (said,) = refused.value.lines
    where = f"{path}:{line}" if line else str(path)
    assert re.match(rf"{re.escape(where)}: can't be read \({problem}", said), said


def test_a_column_twice_and_another_format_are_named(tmp_path):
    (tmp_path / "a.csv").write_text("prompt,n,prompt\na,b,c\n")
    with pytest.raises(UserError, match=r"a.csv: column 'prompt' occurs twice; rename one of them"):
        rows_of(tmp_path / "a.csv")
    for content in (b"", b"PAR1"):
        (tmp_path / "a.parquet").write_bytes(content)
        with pytest.raises(UserError, match=r"a.parquet: not a Parquet file \("):
            rows_of(tmp_path / "a.parquet")


def test_a_file_without_rows_or_of_other_content_than_pinned_is_refused(tmp_path):
    path = tmp_path / "a.jsonl"
    with pytest.raises(UserError, match="missing or empty; name a file or folder that is there"):
        rows_of(path)
    path.write_text("")
    with pytest.raises(UserError, match=r"a\.jsonl: no rows in a split named train"):
        read(Data(path=str(path)), ["prompt"], ["train"])
    path.write_text(LINE)
    with pytest.raises(UserError, match="not the file that the study means: its sha256 is") as no:
        read(Data(path=str(path), sha256="0" * 64), ["prompt"], ["train"])
    found = str(no.value).split("its sha256 is ")[1][:64]
    _, origin = read(Data(path=str(path), sha256=found), ["prompt"], ["train"])
    assert (origin["repo"], origin["commit"]) == (str(path), found)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize(("name", "content"), [("a.jsonl", LINE), ("a.csv", TABLE)])
def test_a_text_is_read_as_it_is(tmp_path, name, content, encoding):
    (tmp_path / name).write_bytes(content.encode(encoding))
    (row,) = rows_of(tmp_path / name)
    assert (row["prompt"], str(row["n"])) == ("It was café", "1")


def test_control_characters_and_long_texts_stay_as_they_are(tmp_path):
    text = "x" * 200_000 + "\x01\x0b\x0c\x1b\x1c\x85\u2028\r"
    (tmp_path / "a.csv").write_bytes(f'prompt\n"{text}"\n'.encode())
    (tmp_path / "a.jsonl").write_text(json.dumps({"prompt": text}) + "\n")
    assert rows_of(tmp_path / "a.csv") == rows_of(tmp_path / "a.jsonl") == [{"prompt": text}]


def test_of_parquet_the_wanted_columns_are_read_alone(tmp_path):
    """Python has no date for some that Parquet can hold; bytes need not be text."""
    text, path = pyarrow.array(["a", "b"]), tmp_path / "a.parquet"
    bytes_ = pyarrow.array([b"fine", b"\xff"]).buffers()
    latin = pyarrow.Array.from_buffers(pyarrow.string(), 2, bytes_)
    far = pyarrow.array([1, 2**50], pyarrow.timestamp("ms"))
    pyarrow.parquet.write_table(pyarrow.table({"prompt": text, "when": far, "l": latin}), path)
    assert rows_of(path) == [{"prompt": "a"}, {"prompt": "b"}]
    with pytest.raises(UserError, match=r"a.parquet: column 'when' can't be read \(date value out"):
        rows_of(path, ("prompt", "when"))
    with pytest.raises(UserError, match=r"column 'l' can't be read \(.*Invalid UTF8 .*index 1\)"):
        rows_of(path, ("prompt", "l"))
    twice = pyarrow.Table.from_arrays([text, text], names=["prompt", "prompt"])
    pyarrow.parquet.write_table(twice, path)
    with pytest.raises(UserError, match="column 'prompt' occurs twice; rename one of them"):
        rows_of(path)


USERS = [1234567890123456789, 1234567890123456788, 1234567890123456790]


@pytest.mark.parametrize(
    ("wanted", "values", "kept"),
    [
        (USERS[0], USERS, [0]),
        (USERS[0], [*map(str, USERS)], [0]),
        (USERS[0], [*map(float, USERS)], []),  # in which nobody can tell them apart
        (str(USERS[0]), USERS, [0]),
        (True, [True, False, None], [0]),
        (False, ["False", "true", "FALSE", ""], [0, 2]),
        (True, [1, 0, "1"], [0, 2]),
        (0.1, [0.1, "0.1", Decimal("0.10"), "0.1000"], [0, 1, 2, 3]),
        (1234, ["12_34", "\uff11234", "1234.0"], [2]),
        ("007", ["007", "7", 7], [0, 2]),
        ("nan", [float("nan"), None], [0]),
    ],
)
def test_where_compares_numbers_exactly_and_text_as_it_is_spelled(wanted, values, kept, tmp_path):
    path = tmp_path / "a.jsonl"
    lines = [json.dumps({"prompt": str(i), "v": v}, default=float) for i, v in enumerate(values)]
    path.write_text("\n".join(lines))
    splits, _ = read(Prompts(path=str(path), where={"v": wanted}), ["prompt"], ["train"])
    assert [number - 1 for number, _ in splits["train"]] == kept


def test_where_takes_a_decimal_and_a_date_of_parquet_as_spelled(tmp_path):
    path = tmp_path / "a.parquet"
    columns = {
        "prompt": pyarrow.array(["a", "b"]),
        "price": pyarrow.array([Decimal("0.10"), Decimal("0.11")]),
        "day": pyarrow.array([0, 1], pyarrow.date32()),
    }
    pyarrow.parquet.write_table(pyarrow.table(columns), path)
    for where in ({"price": 0.1}, {"day": "1970-01-01"}):
        splits, _ = read(Prompts(path=str(path), where=where), ["prompt"], ["train"])
        assert [row["prompt"] for _, row in splits["train"]] == ["a"]


@pytest.mark.parametrize("value", [None, [1], {"a": 1}])
def test_a_value_of_another_kind_is_one_line(value):
    with pytest.raises(ValueError, match="text, a number, true or false") as refused:
        Prompts.model_validate({"path": "a.csv", "where": {"day": value}})
    assert len(problems(refused.value)) == 1
