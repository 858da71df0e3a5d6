"""What is given for prompts, pairs or completions, as records of prompts."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, TypeVar

from fdpo.core.errors import UserError
from fdpo.core.randomness import stream
from fdpo.core.records import Prompt, Role
from fdpo.sources.dataset_rows import BadRow, DatasetRow
from fdpo.sources.pair_formats import Turns

Parsed = TypeVar("Parsed")


def parsed(
    rows: Sequence[tuple[int, DatasetRow]],
    parse: Callable[[DatasetRow], Parsed],
    where: str,
    bad_rows: Literal["refuse", "skip"],
    skipped: Counter[str],
) -> list[Parsed]:
    """What `parse` makes of numbered rows; those that it raises `BadRow` for count as skipped.

    Raises `UserError` for a row to refuse, or where none is left; `where` begins its message.
    """
    kept = []
    for number, row in rows:
        try:
            kept.append(parse(row))
        except BadRow as problem:
            if bad_rows == "refuse":
                raise UserError(
                    f"{where}, row {number}: {problem}; correct it, or set bad_rows to skip"
                ) from None
            skipped[str(problem)] += 1
    if not kept:
        first = f" ({skipped.total()} rows skipped; first {next(iter(skipped))})" if skipped else ""
        raise UserError(f"{where}: no row is left{first}; name another")
    return kept


def hold_out(prompts: Iterable[Turns], seed: int, count: int) -> list[Turns]:
    """Draw `count` of the different prompts by `seed`; they are in the order of `prompts`.

    Raises `UserError` when no prompt would be left to train on.
    """
    distinct = list(dict.fromkeys(prompts))
    if count >= len(distinct):
        raise UserError(
            f"prepare.heldout_prompts = {count}: the split train has {len(distinct)} different"
            " prompts, and some must be left to train on; lower it"
        )
    order = stream(seed, "heldout prompts").permutation(len(distinct)).tolist()
    return [distinct[place] for place in sorted(order[:count])]


def as_prompts(
    given: Mapping[Role, Mapping[str, Mapping[str, Any]]], heldout: Sequence[str]
) -> list[Prompt]:
    """One record per prompt: those of the split train, of the split test, then the held-out ones.

    `given` has, by role and prompt, the fields of its record; those of `heldout` that something is
    given for are left out. Raises `UserError` where a prompt is in both splits, or fewer than two
    are held out.
    """
    train, test = given.get("train", {}), given.get("test", {})
    if both := train.keys() & test.keys():
        raise UserError(
            f"prompt {min(both)[:60]!r} has pairs in both splits, train and test; move them to one"
        )
    unpaired = [text for text in heldout if text not in train and text not in test]
    if len(unpaired) < 2:
        raise UserError(
            f"prepare.prompts: {len(unpaired)} of {len(heldout)} prompts are in no pair, and"
            " evaluation needs 2 at least; name other prompts"
        )
    rows = [(text, role, fields) for role in given for text, fields in given[role].items()]
    rows += [(text, "heldout", {}) for text in unpaired]
    return [
        Prompt(id=number, prompt=text, role=role, **fields)
        for number, (text, role, fields) in enumerate(rows)
    ]
