"""Prompts from rows of text: filtered, cut, put into a template, and drawn by the seed."""

from collections.abc import Iterable

from fdpo.config.sources import Cut
from fdpo.config.sources import Prompts as Section
from fdpo.core.errors import UserError
from fdpo.core.origin import Origin
from fdpo.core.randomness import stream
from fdpo.core.records import Role
from fdpo.sources.dataset_rows import BadRow, read, text_of, value_at


def read_texts(source: Section) -> tuple[list[str], Origin]:
    """The different texts that the rows of `source` give, in order, and where they come from.

    Raises `UserError` when the data can't be had or read, or a row's text is no text.
    """
    splits, origin = read(source, [source.column], [source.split])
    texts = []
    for number, row in splits[source.split]:
        try:
            value = value_at(row, source.column)
            texts.append("" if value == "" else text_of(value, source.column))
        except BadRow as problem:
            raise UserError(
                f"{origin['repo']}, split {source.split}, row {number}: {problem}; correct it"
            ) from None
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


def draw(count: int, seed: int, train: int, heldout: int, of: str) -> dict[int, Role]:
    """The places and roles of prompts drawn by `seed` from `count`, in the order of the draw.

    Raising either number keeps those drawn before. Raises `UserError`, which names what they are
    drawn `of`, where there are too few.
    """
    if train + heldout > count:
        raise UserError(
            f"prepare.train_prompts = {train} and prepare.heldout_prompts = {heldout}: {of} have"
            f" only {count} different prompts; lower one of them"
        )
    order = stream(seed, "prompts").permutation(count).tolist()
    train_roles: dict[int, Role] = dict.fromkeys(order[:train], "train")
    return train_roles | dict.fromkeys(order[count - heldout :], "heldout")
