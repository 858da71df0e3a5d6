"""Preference pairs that somebody else chose, as records of prompts with their pairs."""

from collections import Counter
from collections.abc import Callable, Iterable

from fdpo.config.sources import Choice, FilePairs, HubPairs
from fdpo.core.errors import UserError
from fdpo.core.origin import Origin
from fdpo.core.randomness import stream
from fdpo.core.records import Prompt, Role, TextPair
from fdpo.sources.dataset_rows import DatasetRow, matches, read, value_at
from fdpo.sources.pair_formats import SAID, BadRow, GivenPair, Turns, as_pair, unread_fields

PairsBySplit = dict[Role, list[GivenPair]]


def read_pairs(source: HubPairs | FilePairs) -> tuple[PairsBySplit, Counter[str], Origin]:
    """The pairs of the splits for training and testing, in the order of the source.

    Returns: the pairs, how many rows were skipped for which reason, and where they come from.

    Raises:
        UserError: the data can't be had or read, they have no rows to train on, or a row is no pair
            and `bad_rows` is `refuse`.
    """
    columns = source.columns
    needed = [columns.chosen, columns.rejected, *source.where]
    needed += [columns.prompt] if columns.prompt else []
    needed += [columns.choice.column] if columns.choice else []
    names: dict[Role, str] = {"train": source.splits.train, "test": source.splits.test}
    splits, origin = read(source, needed, list(names.values()))
    every = [row for rows in splits.values() for row in rows if matches(row, source.where)]
    if columns.choice:
        _require_choice_of_two(every, columns.choice, origin.repo)
    skipped: Counter[str] = Counter()
    pairs: PairsBySplit = {}
    for role, split in names.items():
        for number, row in enumerate(splits.get(split, []), start=1):
            if not matches(row, source.where):
                continue
            try:
                pairs.setdefault(role, []).append(as_pair(row, columns))
            except BadRow as problem:
                if source.bad_rows == "refuse":
                    raise UserError(
                        f"{origin.repo}, split {split}, row {number}: {problem}; correct it, or"
                        " set bad_rows to skip"
                    ) from None
                skipped[str(problem)] += 1
    if not pairs.get("train"):
        raise UserError(
            f"{origin.repo}: no pairs in its split {names['train']}"
            + (f" ({skipped.total()} rows skipped; first {next(iter(skipped))})" if skipped else "")
            + "; name another"
        )
    if unread := unread_fields(every, columns) - set(SAID):
        print(f"prepare: fields of messages that go unread: {', '.join(sorted(unread))}")
    return pairs, skipped, origin


def _require_choice_of_two(rows: Iterable[DatasetRow], choice: Choice, where: str) -> None:
    """Raise `UserError` unless the choices are the named value and one other.

    A tie, or the same value in another spelling, would else count as the other.
    """
    chosen, others = 0, set()
    for row in rows:
        try:
            value = value_at(row, choice.column)
        except KeyError:
            continue  # no pair, as a row without a value is none
        if matches(row, {choice.column: choice.value}):
            chosen += 1
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


def hold_out(pairs: PairsBySplit, seed: int, count: int) -> tuple[PairsBySplit, list[Turns]]:
    """Draw `count` prompts of the split train by `seed`; they, and the pairs of the others.

    Raises `UserError` when no prompt would be left to train on.
    """
    prompts = list(dict.fromkeys(pair.prompt for pair in pairs["train"]))
    if count >= len(prompts):
        raise UserError(
            f"prepare.heldout_prompts = {count}: the split train has {len(prompts)} different"
            " prompts, and some must be left to train on; lower it"
        )
    order = stream(seed, "heldout prompts").permutation(len(prompts)).tolist()
    drawn = {prompts[i] for i in order[:count]}
    left = {
        role: [pair for pair in pairs_of_role if pair.prompt not in drawn]
        for role, pairs_of_role in pairs.items()
    }
    return left, [prompt for prompt in prompts if prompt in drawn]


def as_prompts(
    pairs: PairsBySplit,
    heldout: Iterable[str],
    rendered: Callable[[GivenPair], tuple[str, TextPair] | None],
) -> list[Prompt]:
    """One record per prompt: those of the split train, of the split test, then the held-out ones.

    Args:
        pairs: by role. A prompt's pairs are in its record as given, in order.
        heldout: prompts as the model reads them; those that pairs have too are left out.
        rendered: a pair's prompt and completions as the model reads them; None leaves it out.

    Raises:
        UserError: a prompt is in both splits, or fewer than two are held out.
    """
    given: dict[Role, dict[str, list[TextPair]]] = {"train": {}, "test": {}}
    for role, pairs_of_role in pairs.items():
        for pair in pairs_of_role:
            if made := rendered(pair):
                given[role].setdefault(made[0], []).append(made[1])
    if both := given["train"].keys() & given["test"].keys():
        raise UserError(
            f"prompt {min(both)[:60]!r} has pairs in both splits, train and test; move them to one,"
            " or name a file with all pairs and set split.test_size to a share"
        )
    heldout = list(heldout)
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
