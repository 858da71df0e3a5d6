"""Preference pairs that somebody else chose."""

from collections import Counter
from collections.abc import Iterable
from contextlib import suppress

from fdpo.config.sources import Choice, Pairs
from fdpo.core.errors import UserError
from fdpo.core.origin import Origin
from fdpo.core.records import Role
from fdpo.sources.dataset_rows import BadRow, DatasetRow, read, same, value_at
from fdpo.sources.given import parsed
from fdpo.sources.pair_formats import GivenPair, as_pair

PairsBySplit = dict[Role, list[GivenPair]]


def read_pairs(source: Pairs) -> tuple[PairsBySplit, Counter[str], Origin]:
    """The pairs of the splits for training and testing, in the order of the source.

    Returns: the pairs, how many rows were skipped for which reason, and where they come from.

    Raises `UserError` where the data can't be read, have no rows to train on, or a row is no pair
    and `bad_rows` is `refuse`.
    """
    columns = source.columns
    roles: dict[Role, str] = {"train": source.splits.train, "test": source.splits.test}
    choosing = columns.choice.column if columns.choice else None
    needed = [columns.prompt, columns.chosen, columns.rejected, choosing]
    splits, origin = read(source, filter(None, needed), list(roles.values()))
    every = [row for rows in splits.values() for _, row in rows]
    if columns.choice:
        _require_choice_of_two(every, columns.choice, origin["repo"])
    skipped: Counter[str] = Counter()
    pairs: PairsBySplit = {
        role: parsed(
            splits[split],
            lambda row: as_pair(row, columns),
            f"{origin['repo']}, split {split}",
            source.bad_rows,
            skipped,
        )
        for role, split in roles.items()
        if split in splits or role == "train"
    }
    return pairs, skipped, origin


def _require_choice_of_two(rows: Iterable[DatasetRow], choice: Choice, where: str) -> None:
    """Raise `UserError` unless the choices are the named value and one other: a tie is neither."""
    chosen, others = False, set()
    for row in rows:
        with suppress(BadRow):  # no pair, as a row without a value is none
            value = value_at(row, choice.column)
            if same(value, choice.value):
                chosen = True
            elif value is not None:
                others.add(repr(value))
    named = f"{where}: columns.choice.value = {choice.value!r}"
    listed = ", ".join(other[:80] for other in sorted(others)[:3])
    if not chosen:
        raise UserError(f"{named}: no row has it in {choice.column}, but {listed or 'nothing'}")
    if len(others) > 1:
        raise UserError(
            f"{named}: {choice.column} must hold one other value, not {listed}; leave out the rows"
            " that choose neither"
        )
