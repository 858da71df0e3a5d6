"""The judge: VADER's compound score, a rule-based sentiment measure."""

import hashlib
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from vaderSentiment import vaderSentiment

from fdpo.core.errors import UserError
from fdpo.core.files import read_json, write_json
from fdpo.scoring.scorer import SCORER_FILE

# The analyser's rules and the two word lists that it reads are in one folder of the package.
_FILES = ("vaderSentiment.py", "vader_lexicon.txt", "emoji_utf8_lexicon.txt")


class Vader:
    """Hutto & Gilbert, "VADER: A Parsimonious Rule-based Model for Sentiment Analysis of Social
    Media Text", ICWSM 2014."""

    def __init__(self) -> None:
        self._analyzer = vaderSentiment.SentimentIntensityAnalyzer()

    @property
    def texts_cut(self) -> int:
        """None: a text of any length is read."""
        return 0

    def score(self, texts: list[str]) -> np.ndarray:
        """The compound score of each text, float64 in [-1, 1]; 0 where no word has a sentiment."""
        scores = [self._analyzer.polarity_scores(text)["compound"] for text in texts]
        return np.array(scores, dtype=np.float64)


def save(folder: str | Path) -> None:
    """Record in `folder` which VADER is installed; rules and words stay in the package."""
    write_json(Path(folder) / SCORER_FILE, _installed())


def load(folder: str | Path) -> Vader:
    """Load the judge. Raises `UserError` when the installed VADER is not the recorded one."""
    path = Path(folder) / SCORER_FILE
    installed = _installed()
    if read_json(path) != installed:
        raise UserError(
            f"{path}: made with another vaderSentiment than the installed {installed['version']};"
            " install the pinned requirements, or rebuild with `dvc repro --force prepare`"
        )
    return Vader()


def _installed() -> dict[str, Any]:
    package = Path(vaderSentiment.__file__).parent
    digests = {name: hashlib.sha256((package / name).read_bytes()).hexdigest() for name in _FILES}
    return {"kind": "vader", "version": version("vaderSentiment"), "sha256": digests}
