"""Rated movie-review snippets, and the prompts cut from them."""

import html
from pathlib import Path
from typing import NamedTuple

from fdpo.core.randomness import stream
from fdpo.core.records import Prompt
from fdpo.sources.prompts import draw


class Snippet(NamedTuple):
    """A sentence of a movie review with its mean human rating, from -4 (worst) to 4 (best)."""

    id: int
    rating: float
    text: str

    def opening(self, words: int) -> str:
        """The first words of the text."""
        return " ".join(self.text.split()[:words])


def read_snippets(path: str | Path) -> list[Snippet]:
    """Read a UTF-8 file of `id <tab> rating <tab> text` lines, in the file's order.

    The file is pinned by the sha256 of its package, so its lines are not checked.
    """
    with open(path, encoding="utf-8") as lines:
        rows = [line.split("\t") for line in lines]
    # A few texts still carry the HTML of the page they were taken from ("PB&amp;J").
    return [Snippet(int(n), float(rating), html.unescape(text).strip()) for n, rating, text in rows]


def prompts(
    snippets: list[Snippet], template: str, words: int, train: int, heldout: int, seed: int
) -> tuple[list[Prompt], list[Snippet]]:
    """Cut prompts from the first `words` words of snippets; return them and the snippets left.

    They take the place of `{words}` in `template`. No two prompts read the same; a prompt's id is
    that of the first snippet with that beginning, of more words. No snippet that is left begins
    like a prompt, so a reward model fitted to them has not seen what it will judge. Raises
    `UserError` where there are fewer than `train` + `heldout`.
    """
    openings: dict[str, int] = {}
    for snippet in snippets:
        if len(snippet.text.split()) > words:
            openings.setdefault(snippet.opening(words), snippet.id)
    roles = draw(len(openings), seed, train, heldout, "the snippets")
    drawn = {list(openings)[place]: role for place, role in roles.items()}
    chosen = [
        Prompt(id=openings[opening], prompt=template.replace("{words}", opening), role=role)
        for opening, role in drawn.items()
    ]
    return chosen, [snippet for snippet in snippets if snippet.opening(words) not in drawn]


def three_parts(
    snippets: list[Snippet], seed: int
) -> tuple[list[Snippet], list[Snippet], list[Snippet]]:
    """Split snippets into those to fit the reward to, to fit the judge to, and to check both on.

    A text that several snippets have, but for case and white space, is kept once, so no two parts
    share one. The check gets a tenth, the fits a half each of the rest.
    """
    by_text: dict[str, Snippet] = {}
    for snippet in snippets:
        by_text.setdefault(" ".join(snippet.text.lower().split()), snippet)
    distinct = list(by_text.values())
    drawn = [distinct[i] for i in stream(seed, "reward").permutation(len(distinct))]
    check, fitted = drawn[: len(drawn) // 10], drawn[len(drawn) // 10 :]
    half = len(fitted) // 2
    return fitted[:half], fitted[half:], check
