"""What a scorer is, and the file that says which kind one is."""

from typing import Protocol

import numpy as np

SETTINGS = "scorer.json"  # in each scorer's folder; its `kind` says how to read the rest


class Scorer(Protocol):
    """Says how good texts are; the scale is the scorer's own, larger is better."""

    def score(self, texts: list[str]) -> np.ndarray:
        """One float64 a text, in order."""
        ...
