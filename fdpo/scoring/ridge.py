"""The reward model: ridge regression on hashed n-grams."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from fdpo.core.errors import UserError
from fdpo.core.files import replacing, write_json
from fdpo.core.validation import Strict
from fdpo.scoring import ngrams
from fdpo.scoring.quality import FitQuality, RatedTexts, measure
from fdpo.scoring.scorer import REMEDY, SCORER_FILE, read_settings

WEIGHTS_FILE = "weights.safetensors"
PENALTY = 1.0  # on movie reviews, 0.5 to 2 give the same held-out correlation within 0.01
FEWEST_TEXTS = 100  # with fewer, the texts left to measure quality on are too few


class NgramFeatures(Strict):
    """How the n-grams were made; the weights fit these settings alone."""

    word_orders: tuple[int, ...] = ngrams.WORD_ORDERS
    character_orders: tuple[int, ...] = ngrams.CHARACTER_ORDERS
    buckets: int = ngrams.BUCKETS


class RidgeSettings(Strict):
    """scorer.json of a ridge reward model."""

    kind: Literal["ridge"] = "ridge"
    penalty: float = PENALTY
    features: NgramFeatures = NgramFeatures()
    fitted_texts: int
    heldout: FitQuality
    intercept: float


@dataclass(frozen=True)
class RidgeReward:
    """Predicts a text's rating from which n-grams it holds.

    rating = intercept + sum(words[w]) / sqrt(n_w) + sum(characters[c]) / sqrt(n_c), where w and c
    are the text's n_w and n_c distinct features (see `fdpo.scoring.ngrams`). Each set is thus a
    vector of unit norm, so a text's length alone does not move its rating away from the mean.
    """

    words: np.ndarray  # [ngrams.BUCKETS] float32
    characters: np.ndarray  # [ngrams.BUCKETS] float32
    settings: RidgeSettings

    @property
    def texts_cut(self) -> int:
        """None: a text of any length is read."""
        return 0

    def score(self, texts: list[str]) -> np.ndarray:
        """The predicted rating of each text, float64; a text without words gets the intercept."""
        return np.array([self._score(text) for text in texts], dtype=np.float64)

    def _score(self, text: str) -> float:
        words = _normalised_sum(self.words, ngrams.word_features(text))
        characters = _normalised_sum(self.characters, ngrams.character_features(text))
        return self.settings.intercept + words + characters

    def save(self, folder: str | Path) -> None:
        """Write scorer.json and weights.safetensors to `folder`; equal models give equal bytes."""
        write_json(Path(folder) / SCORER_FILE, self.settings.model_dump())
        with replacing(Path(folder) / WEIGHTS_FILE) as scratch:
            save_file({"words": self.words, "characters": self.characters}, scratch)


def _normalised_sum(weights: np.ndarray, features: np.ndarray) -> float:
    return float(weights[features].sum(dtype=np.float64)) * _scale(features)


def _scale(features: np.ndarray) -> float:
    return 1 / max(len(features), 1) ** 0.5


def load(folder: str | Path) -> RidgeReward:
    """Load what `save` wrote. Raises `UserError` when a file is missing or damaged."""
    settings = read_settings(folder, RidgeSettings)
    if settings.features != NgramFeatures():
        path = Path(folder) / SCORER_FILE
        raise _damaged(path, f"features are {settings.features}, this code makes {NgramFeatures()}")
    path = Path(folder) / WEIGHTS_FILE
    try:
        weights = load_file(path)
        words, characters = weights["words"], weights["characters"]
    except (OSError, SafetensorError, KeyError) as error:
        raise _damaged(path, str(error)) from None
    if not words.shape == characters.shape == (ngrams.BUCKETS,):
        raise _damaged(path, f"shapes {words.shape} and {characters.shape}")
    if not (np.isfinite(words).all() and np.isfinite(characters).all()):
        raise _damaged(path, "holds a value that is not finite")
    return RidgeReward(words, characters, settings)


def _damaged(path: Path, problem: str) -> UserError:
    return UserError(f"{path}: {problem}; {REMEDY}")


def fit(rated: RatedTexts, check: RatedTexts, seed: int) -> RidgeReward:
    """Fit to all of `rated`, and measure on all of `check`.

    Raises `UserError` when there are fewer than `FEWEST_TEXTS` texts to fit to.
    """
    if len(rated.texts) < FEWEST_TEXTS:
        raise UserError(
            f"reward model: {len(rated.texts)} rated texts are left, at least {FEWEST_TEXTS} are"
            " needed; lower prepare.train_prompts or prepare.heldout_prompts"
        )
    # Scoring needs neither library, and importing them takes longer than scoring everything.
    from sklearn.linear_model import Ridge
    from threadpoolctl import threadpool_limits

    regression = Ridge(alpha=PENALTY, solver="lsqr", tol=1e-6)
    with threadpool_limits(1):  # a sum over threads depends on how many there are
        regression.fit(_design_matrix(rated.texts), np.array(rated.ratings))
    words, characters = np.split(regression.coef_.astype(np.float32), 2)
    settings = RidgeSettings(
        fitted_texts=len(rated.texts),
        heldout=measure(
            regression.predict(_design_matrix(check.texts)), np.array(check.ratings), seed
        ),
        intercept=float(regression.intercept_),
    )
    return RidgeReward(words, characters, settings)


def _design_matrix(texts: list[str]) -> Any:
    """[texts, 2 * BUCKETS] CSR: word features, then character features, each of unit norm."""
    from scipy.sparse import csr_array

    columns, values, ends = [], [], [0]
    for text in texts:
        words, characters = ngrams.word_features(text), ngrams.character_features(text)
        columns += [words, characters + ngrams.BUCKETS]
        values += [np.full(len(block), _scale(block)) for block in (words, characters)]
        ends.append(ends[-1] + len(words) + len(characters))
    parts = (np.concatenate(values), np.concatenate(columns), np.array(ends))
    return csr_array(parts, shape=(len(texts), 2 * ngrams.BUCKETS))
