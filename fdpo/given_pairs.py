"""Preference pairs that somebody else chose, as text."""

from dataclasses import dataclass

from fdpo import tables
from fdpo.errors import UserError
from fdpo.hub import Source


@dataclass(frozen=True)
class GivenPair:
    """A prompt and two completions of it; a completion begins where the prompt ends."""

    prompt: str
    chosen: str
    rejected: str


def read_pairs(source: str, revision: str) -> tuple[dict[str, list[GivenPair]], Source]:
    """The pairs of each split, in the order of the source, and where they come from.

    `source` is a Hub dataset "user/name", read at `revision`, or a .jsonl or .parquet file, with
    the text columns prompt, chosen and rejected; a file is one split, `train`. Raises `UserError`
    when it is missing, lacks a column or a split `train`, or has a row whose texts are no texts,
    empty or equal.
    """
    splits, where = tables.read(source, revision, ["prompt", "chosen", "rejected"])
    pairs = {
        split: [_pair(row, f"{source}, split {split}, row {i}") for i, row in enumerate(rows, 1)]
        for split, rows in splits.items()
    }
    if not pairs.get("train"):
        raise UserError(f"{source}: no rows in a split named train; it has {', '.join(pairs)}")
    return pairs, where


def read_prompts(source: str, revision: str) -> tuple[list[str], Source]:
    """The column prompt of the split `train`, repeats left out, and where it comes from.

    `source` is as for `read_pairs`. Raises `UserError` as that does.
    """
    splits, where = tables.read(source, revision, ["prompt"])
    rows = splits.get("train", [])
    if not rows:
        raise UserError(f"{source}: no rows in a split named train; it has {', '.join(splits)}")
    for number, row in enumerate(rows, start=1):
        _require_text(row["prompt"], "prompt", f"{source}, split train, row {number}")
    return list(dict.fromkeys(row["prompt"] for row in rows)), where


def _pair(row: tables.Row, place: str) -> GivenPair:
    for column, value in row.items():
        _require_text(value, column, place)
    pair = GivenPair(**row)
    if pair.chosen == pair.rejected:
        raise UserError(f"{place}: chosen and rejected are the same; remove the row")
    return pair


def _require_text(value: object, column: str, place: str) -> None:
    if not isinstance(value, str) or not value:
        raise UserError(f"{place}: {column} = {value!r}: must be text, and not empty")
