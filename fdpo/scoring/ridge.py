"""The reward model: ridge regression on hashed n-grams."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from fdpo.core.errors import UserError
from fdpo.core.files import write_json
from fdpo.core.validation import Strict
from fdpo.scoring import ngrams
from fdpo.scoring.quality import FittedSettings, RatedTexts, fit_ridge
from fdpo.scoring.scorer import (
    REMEDY,
    SCORER_FILE,
    Scorer,
    read_settings,
    read_weights,
    write_weights,
)

WEIGHTS_FILE = "weights.safetensors"
PENALTY = 1.0  # on movie reviews, 0.5 to 2 give the same held-out correlation within 0.01
FEWEST_TEXTS = 100  # with fewer, the texts left to measure quality on are too few


class NgramFeatures(Strict):
    """How the n-grams were made; the weights fit these settings alone."""

    word_orders: tuple[int, ...] = ngrams.WORD_ORDERS
    character_orders: tuple[int, ...] = ngrams.CHARACTER_ORDERS
    buckets: int = ngrams.BUCKETS


class RidgeSettings(FittedSettings):
    """scorer.json of a ridge reward model."""

    kind: Literal["ridge"] = "ridge"
    penalty: float = PENALTY
    features: NgramFeatures = NgramFeatures()


@dataclass(frozen=True)
class RidgeReward(Scorer):
    """Predicts a text's rating from which n-grams it holds.

    rating = intercept + sum(words[w]) / sqrt(n_w) + sum(characters[c]) / sqrt(n_c), where w and c
    are the text's n_w and n_c distinct features (see `fdpo.scoring.ngrams`), so that its length
    alone does not move its rating away from the mean.
    """

    words: np.ndarray  # [ngrams.BUCKETS] float32
    characters: np.ndarray  # [ngrams.BUCKETS] float32
    settings: RidgeSettings
    additive = True

    def score(self, texts: list[str]) -> np.ndarray:
        """The predicted rating of each text, float64; a text without words gets the intercept."""
        return np.array(
            [
                self.settings.intercept
                + _normalised_sum(self.words, ngrams.word_features(text))
                + _normalised_sum(self.characters, ngrams.character_features(text))
                for text in texts
            ],
            dtype=np.float64,
        )

    def save(self, folder: str | Path) -> None:
        """Write scorer.json and weights.safetensors to `folder`; equal models give equal bytes."""
        write_json(Path(folder) / SCORER_FILE, self.settings.model_dump())
        weights = {"words": self.words, "characters": self.characters}
        write_weights(Path(folder) / WEIGHTS_FILE, weights)


def _normalised_sum(weights: np.ndarray, features: np.ndarray) -> float:
    return float(weights[features].sum(dtype=np.float64)) * _scale(features)


def _scale(features: np.ndarray) -> float:
    return 1 / max(len(features), 1) ** 0.5


def load(folder: str | Path) -> RidgeReward:
    """Load what `save` wrote. Raises `UserError` when a file is missing or damaged."""
    settings = read_settings(folder, RidgeSettings)
    if settings.features != NgramFeatures():
        raise UserError(
            f"{Path(folder) / SCORER_FILE}: features are {settings.features}, this code makes"
            f" {NgramFeatures()}; {REMEDY}"
        )
    sizes = dict.fromkeys(("words", "characters"), ngrams.BUCKETS)
    words, characters = read_weights(Path(folder) / WEIGHTS_FILE, sizes)
    return RidgeReward(words, characters, settings)


def fit(rated: RatedTexts, check: RatedTexts, seed: int) -> RidgeReward:
    """Fit to `rated`, at least `FEWEST_TEXTS` or `UserError` is raised, and measure on `check`."""
    if len(rated.texts) < FEWEST_TEXTS:
        raise UserError(
            f"reward model: {len(rated.texts)} rated texts are left, at least {FEWEST_TEXTS} are"
            " needed; lower prepare.train_prompts or prepare.heldout_prompts"
        )
    designs = _design_matrix(rated.texts), _design_matrix(check.texts)
    options = {"alpha": PENALTY, "solver": "lsqr", "tol": 1e-6}
    weights, facts = fit_ridge(*designs, rated, check, seed, **options)
    words, characters = np.split(weights, 2)
    return RidgeReward(words, characters, RidgeSettings(**facts))


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
