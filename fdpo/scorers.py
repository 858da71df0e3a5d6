"""Load a scorer, the reward model or the judge, from its folder."""

from pathlib import Path
from typing import Protocol

import numpy as np

from fdpo.errors import UserError
from fdpo.files import read_json

SETTINGS = "scorer.json"  # in each scorer's folder; its `kind` says how to read the rest


class Scorer(Protocol):
    """Says how good texts are; the scale is the scorer's own, larger is better."""

    def score(self, texts: list[str]) -> np.ndarray:
        """One float64 a text, in order."""
        ...


def load_scorer(folder: str | Path) -> Scorer:
    """Load the scorer in `folder`.

    Raises `UserError` when files are missing or damaged, or of a kind that is not known here.
    """
    path = Path(folder) / SETTINGS
    settings = read_json(path)
    kind = settings.get("kind") if isinstance(settings, dict) else None
    # Each kind brings its own libraries (a classifier brings torch), so only one is imported.
    match kind:
        case "ridge":
            from fdpo import ridge

            return ridge.load(folder)
        case "vader":
            from fdpo import vader

            return vader.load(folder)
        case "classifier":
            from fdpo import classifier

            return classifier.load(folder)
    raise UserError(
        f"{path}: kind = {kind!r}: must be ridge, vader or classifier;"
        " run `dvc repro` to rebuild the folder"
    )
