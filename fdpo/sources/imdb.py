"""Prompts from film reviews: how the positive ones of IMDB begin."""

from collections.abc import Iterable

from fdpo.core.errors import UserError
from fdpo.core.randomness import stream
from fdpo.core.records import Prompt, Role
from fdpo.sources import dataset_rows
from fdpo.sources.hub import Origin

POSITIVE = 1  # the value of the column `label`


def read_prompts(
    repo: str, revision: str, seed: int, train: int, heldout: int
) -> tuple[list[Prompt], Origin]:
    """Draw prompts from the split `train` of a Hub dataset with IMDB's columns, text and label.

    Returns the prompts, train ones first, and where they come from. Raises `UserError` when the
    dataset can't be had, or has fewer different openings than `train` + `heldout`.
    """
    splits, source = dataset_rows.read_hub(repo, revision, ["text", "label"], splits=["train"])
    texts = (row["text"] for row in splits["train"] if row["label"] == POSITIVE)
    return draw(openings(texts), seed, train, heldout), source


def openings(texts: Iterable[str]) -> list[str]:
    """Each text up to its first full stop, without it, in order; blanks and repeats left out.

    A text without a full stop is taken whole.
    """
    starts = (text.partition(".")[0] for text in texts)
    return list(dict.fromkeys(start for start in starts if start.strip()))


def draw(openings: list[str], seed: int, train: int, heldout: int) -> list[Prompt]:
    """Shuffle by `seed`; train on the first ones, hold out the last; an id is the opening's place.

    So raising either number keeps the prompts that were drawn before.
    """
    if train + heldout > len(openings):
        raise UserError(
            f"prepare.train_prompts = {train} and prepare.heldout_prompts = {heldout}: the dataset"
            f" has only {len(openings)} different openings of positive reviews; lower one of them"
        )
    order = stream(seed, "prompts").permutation(len(openings)).tolist()
    roles: dict[int, Role] = dict.fromkeys(order[:train], "train")
    roles |= dict.fromkeys(order[len(order) - heldout :], "heldout")
    return [Prompt(id=i, prompt=openings[i], role=role) for i, role in roles.items()]
