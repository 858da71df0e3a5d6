"""Prompts from rows of text: filtered, cut, put into a template, and drawn by the seed."""

from collections.abc import Iterable

from fdpo.config.sources import Cut, FilePrompts, HubPrompts
from fdpo.core.errors import UserError
from fdpo.core.origin import Origin
from fdpo.core.randomness import stream
from fdpo.core.records import Prompt, Role
from fdpo.sources.dataset_rows import NUL, matches, read, surplus, value_at


def read_texts(source: HubPrompts | FilePrompts) -> tuple[list[str], Origin]:
    """The different texts that the rows of `source` give, in order, and where they come from.

    Raises `UserError` when the data can't be had or read, or a row's text is no text.
    """
    splits, origin = read(source, [source.column, *source.where], [source.split])
    texts = []
    for number, row in enumerate(splits[source.split], start=1):
        if problem := surplus(row):
            raise UserError(f"{origin.repo}, row {number}: {problem}")
        if matches(row, source.where):
            text = value_at(row, source.column)
            if not isinstance(text, str):
                raise UserError(
                    f"{origin.repo}, split {source.split}, row {number}: {source.column} ="
                    f" {text!r:.80}: must be text"
                )
            if NUL in text:
                raise UserError(
                    f"{origin.repo}, split {source.split}, row {number}: {source.column} holds a"
                    " NUL character; remove it"
                )
            texts.append(text)
    return openings(texts, source.cut, source.template), origin


def openings(texts: Iterable[str], cut: Cut | None = None, template: str = "{text}") -> list[str]:
    """Each text, cut and put into the template, in order; blank ones and repeats are left out."""
    starts = (beginning(text, cut) for text in texts)
    distinct = dict.fromkeys(start for start in starts if start.strip())
    return [template.replace("{text}", start) for start in distinct]


def beginning(text: str, cut: Cut | None) -> str:
    """What `cut` keeps of a text: all of it where it is shorter, or lacks the mark."""
    if cut is None:
        return text
    if cut.words is not None:
        return " ".join(text.split()[: cut.words])
    if cut.characters is not None:
        return text[: cut.characters]
    return text.partition(cut.before or "")[0]


def draw(texts: list[str], seed: int, train: int, heldout: int) -> list[Prompt]:
    """Shuffle by `seed`; train on the first ones, hold out the last; an id is the text's place.

    So raising either number keeps the prompts that were drawn before. Raises `UserError` when there
    are fewer texts than `train` + `heldout`.
    """
    if train + heldout > len(texts):
        raise UserError(
            f"prepare.train_prompts = {train} and prepare.heldout_prompts = {heldout}: the data"
            f" have only {len(texts)} different prompts; lower one of them"
        )
    order = stream(seed, "prompts").permutation(len(texts)).tolist()
    roles: dict[int, Role] = dict.fromkeys(order[:train], "train")
    roles |= dict.fromkeys(order[len(order) - heldout :], "heldout")
    return [Prompt(id=i, prompt=texts[i], role=role) for i, role in roles.items()]
