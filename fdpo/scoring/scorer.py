"""The scorer protocol, and the file in a scorer's folder that names its kind."""

from typing import Protocol

import numpy as np

SCORER_FILE = "scorer.json"  # in each scorer's folder; its `kind` says how to read the rest


class Scorer(Protocol):
    """A reward model or a judge: says how good texts are, on a scale of its own; more is better."""

    def score(self, texts: list[str]) -> np.ndarray:
        """One float64 per text, in the order of `texts`."""
        ...
