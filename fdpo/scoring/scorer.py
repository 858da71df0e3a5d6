"""The scorer protocol, and the file in a scorer's folder that names its kind."""

import sys
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from tqdm import tqdm

SCORER_FILE = "scorer.json"  # in each scorer's folder; its `kind` says how to read the rest


class Scorer(Protocol):
    """A reward model or a judge: says how good texts are, on a scale of its own; more is better."""

    @property
    def texts_cut(self) -> int:
        """How many texts so far were longer than the scorer reads, and were cut at their end."""
        ...

    def score(self, texts: list[str]) -> np.ndarray:
        """One float64 per text, in the order of `texts`."""
        ...


@runtime_checkable
class TokenizingScorer(Scorer, Protocol):
    """A scorer that reads texts as tokens of its own, such as a classifier."""

    def token_ids(self, texts: list[str]) -> list[list[int]]:
        """The scorer's token ids of each text, special tokens included, whatever the length."""
        ...


def report_cut_texts(scorer: Scorer, folder: Path) -> None:
    """Say on stderr how many texts the scorer in `folder` did not read to their end, if any."""
    if scorer.texts_cut:
        tqdm.write(
            f"{folder}: {scorer.texts_cut} texts were longer than the model reads, and were cut at"
            " their end",
            file=sys.stderr,
        )
