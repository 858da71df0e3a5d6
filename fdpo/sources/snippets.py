"""Rated movie-review snippets, and the prompts cut from them."""

import html
from dataclasses import dataclass
from pathlib import Path

from fdpo.core.randomness import stream
from fdpo.core.records import Prompt
from fdpo.sources.prompts import draw


@dataclass(frozen=True, slots=True)
class Snippet:
    """A sentence of a movie review with its mean human rating, from -4 (worst) to 4 (best)."""

    id: int
    rating: float
    text: str


def read_snippets(path: str | Path) -> list[Snippet]:
    """Read a UTF-8 file of `id <tab> rating <tab> text` lines, in the file's order.

    The file is pinned by the sha256 of its package, so its lines are not checked.
    """
    snippets = []
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            number, rating, text = line.split("\t")
            # A few texts still carry the HTML of the page they were taken from ("PB&amp;J").
            snippets.append(Snippet(int(number), float(rating), html.unescape(text).strip()))
    return snippets


def prompts(
    snippets: list[Snippet], template: str, words: int, train: int, heldout: int, seed: int
) -> tuple[list[Prompt], list[Snippet]]:
    """Cut prompts from the first `words` words of snippets; return them and the snippets left.

    They take the place of `{words}` in `template`. No two prompts read the same, so none is both
    train and held out; a prompt's id is that of the first snippet with that beginning. A snippet
    needs more than `words` words, so that something is left to complete. No snippet that is left
    begins like a prompt, so a reward model fitted to them has not seen what it will judge.

    Raises `UserError` where there are fewer than `train` + `heldout`.
    """
    openings: dict[str, int] = {}
    for snippet in snippets:
        if len(snippet.text.split()) > words:
            openings.setdefault(_opening(snippet, words), snippet.id)
    roles = draw(len(openings), seed, train, heldout, "the snippets")
    drawn = {list(openings)[place]: role for place, role in roles.items()}
    chosen = [
        Prompt(id=openings[opening], prompt=template.replace("{words}", opening), role=role)
        for opening, role in drawn.items()
    ]
    return chosen, [snippet for snippet in snippets if _opening(snippet, words) not in drawn]


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


def _opening(snippet: Snippet, words: int) -> str:
    return " ".join(snippet.text.split()[:words])
