"""Fit a scorer to human ratings, and measure it on texts that the fit has not seen."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from fdpo.core.randomness import stream
from fdpo.core.validation import Strict

RESAMPLES = 2000  # of the rated texts, for 95 % percentile intervals


@dataclass(frozen=True)
class RatedTexts:
    """Texts, and the mean human rating of each."""

    texts: list[str]
    ratings: list[float]


class FitQuality(Strict):
    """Agreement with human ratings, each figure with a 95 % bootstrap interval over texts."""

    texts: int
    spearman: float  # rank correlation
    spearman_interval: tuple[float, float]
    sign_agreement: float  # share of texts rated on the same side of 0
    sign_agreement_interval: tuple[float, float]


class FittedSettings(Strict):
    """What is kept of a fit beside its weights: rating = intercept + weights · features."""

    fitted_texts: int
    heldout: FitQuality
    intercept: float


def fit_ridge(
    design: Any, other: Any, rated: RatedTexts, check: RatedTexts, seed: int, **options: Any
) -> tuple[np.ndarray, dict[str, Any]]:
    """Ridge regression of the ratings of `rated` on features, measured on those of `check`.

    `design` and `other` are their features, [texts, features], dense or sparse; `options` are those
    of scikit-learn's `Ridge`.

    Returns: the weights, [features] float32, and the fields of `FittedSettings`.
    """
    # Scoring needs neither library, and importing them takes longer than scoring everything.
    from sklearn.linear_model import Ridge
    from threadpoolctl import threadpool_limits

    regression = Ridge(**options)
    with threadpool_limits(1):  # a sum over threads depends on how many there are
        regression.fit(design, np.array(rated.ratings))
    facts = {
        "fitted_texts": len(rated.texts),
        "heldout": measure(regression.predict(other), np.array(check.ratings), seed),
        "intercept": float(regression.intercept_),
    }
    return regression.coef_.astype(np.float32), facts


def measure(predicted: np.ndarray, rated: np.ndarray, seed: int) -> FitQuality:
    """Compare predicted with human ratings, both [texts]."""
    count = len(rated)
    draws = stream(seed, "quality").integers(count, size=(RESAMPLES, count))

    fields: dict[str, Any] = {"texts": count}
    for name, statistic in (("spearman", _spearman), ("sign_agreement", _sign_agreement)):
        low, high = np.quantile(statistic(predicted[draws], rated[draws]), [0.025, 0.975]).tolist()
        fields[name] = float(statistic(predicted, rated))
        fields[f"{name}_interval"] = (low, high)
    return FitQuality(**fields)


def _spearman(predicted: np.ndarray, rated: np.ndarray) -> np.ndarray:
    """The rank correlation of each row: scipy's spearmanr takes a millisecond for one row."""
    from scipy.stats import rankdata  # not above: scoring needs no scipy

    ranks = [rankdata(values, axis=-1) for values in (predicted, rated)]
    first, second = (rank - rank.mean(axis=-1, keepdims=True) for rank in ranks)
    squares = (first**2).sum(axis=-1) * (second**2).sum(axis=-1)
    return (first * second).sum(axis=-1) / np.sqrt(squares)


def _sign_agreement(predicted: np.ndarray, rated: np.ndarray) -> np.ndarray:
    return ((predicted > 0) == (rated > 0)).mean(axis=-1)
