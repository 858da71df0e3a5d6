"""Preference pairs that somebody else chose, as text."""

from dataclasses import dataclass

from fdpo.core.errors import UserError
from fdpo.core.records import Prompt, Role, TextPair
from fdpo.sources import dataset_rows
from fdpo.sources.hub import Origin

ROLES: dict[str, Role] = {"train": "train", "test": "test"}  # of a split's prompts


@dataclass(frozen=True)
class GivenPair:
    """A prompt and two completions of it; a completion begins where the prompt ends."""

    prompt: str
    chosen: str
    rejected: str


def read_pairs(source: str, revision: str) -> tuple[dict[str, list[GivenPair]], Origin]:
    """The pairs of each split, in the order of the source, and where they come from.

    `source` is a Hub dataset "user/name", read at `revision`, or a .jsonl or .parquet file, with
    the text columns prompt, chosen and rejected; a file is one split, `train`. Raises `UserError`
    when it is missing, lacks a column or a split `train`, or has a row whose texts are no texts,
    empty or equal.
    """
    splits, where = dataset_rows.read(source, revision, ["prompt", "chosen", "rejected"])
    pairs = {
        split: [_pair(row, f"{source}, split {split}, row {i}") for i, row in enumerate(rows, 1)]
        for split, rows in splits.items()
    }
    if not pairs.get("train"):
        raise UserError(f"{source}: no rows in a split named train; it has {', '.join(pairs)}")
    return pairs, where


def read_prompts(source: str, revision: str) -> tuple[list[str], Origin]:
    """The column prompt of the split `train`, repeats left out, and where it comes from.

    `source` is as for `read_pairs`. Raises `UserError` as that does.
    """
    splits, where = dataset_rows.read(source, revision, ["prompt"])
    rows = splits.get("train", [])
    if not rows:
        raise UserError(f"{source}: no rows in a split named train; it has {', '.join(splits)}")
    for number, row in enumerate(rows, start=1):
        _require_text(row["prompt"], "prompt", f"{source}, split train, row {number}")
    return list(dict.fromkeys(row["prompt"] for row in rows)), where


def as_prompts(pairs: dict[str, list[GivenPair]], heldout: list[str]) -> list[Prompt]:
    """One record per prompt: those of the split train, of the split test, then the held-out ones.

    A prompt's pairs are in it as given, in order; other splits are left alone. Held-out prompts
    that pairs have too are left out. Raises `UserError` when a prompt is in both splits, or fewer
    than two are held out.
    """
    given: dict[Role, dict[str, list[TextPair]]] = {role: {} for role in ROLES.values()}
    for split, role in ROLES.items():
        for pair in pairs.get(split, []):
            pairs_of_prompt = given[role].setdefault(pair.prompt, [])
            pairs_of_prompt.append(TextPair(chosen=pair.chosen, rejected=pair.rejected))
    if both := given["train"].keys() & given["test"].keys():
        raise UserError(
            f"prompt {min(both)[:60]!r} has pairs in both splits, train and test; move them to one,"
            " or name a file with all pairs and set split.test_size to a share"
        )
    unpaired = [text for text in heldout if text not in given["train"] | given["test"]]
    if len(unpaired) < 2:
        raise UserError(
            f"prepare.prompts: {len(unpaired)} of {len(heldout)} prompts are in no pair,"
            " and evaluation needs 2 at least; name other prompts"
        )
    rows: list[tuple[str, Role, list[TextPair] | None]] = [
        (text, role, text_pairs) for role in given for text, text_pairs in given[role].items()
    ]
    rows += [(text, "heldout", None) for text in unpaired]
    return [
        Prompt(id=number, prompt=text, role=role, given=text_pairs)
        for number, (text, role, text_pairs) in enumerate(rows)
    ]


def _pair(row: dataset_rows.DatasetRow, place: str) -> GivenPair:
    for column, value in row.items():
        _require_text(value, column, place)
    pair = GivenPair(**row)
    if pair.chosen == pair.rejected:
        raise UserError(f"{place}: chosen and rejected are the same; remove the row")
    return pair


def _require_text(value: object, column: str, place: str) -> None:
    if not isinstance(value, str) or not value:
        raise UserError(f"{place}: {column} = {value!r}: must be text, and not empty")
