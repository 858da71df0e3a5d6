"""Fit a scorer to human ratings, and measure it on texts that the fit has not seen."""

from collections.abc import Callable
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
    """Ridge regression of ratings on features, checked on other texts.

    Args:
        design: of `rated`, [texts, features], dense or sparse.
        other: of `check`.
        rated: the texts to fit to.
        check: the texts to measure the fit on.
        seed: of the intervals.
        options: what scikit-learn's `Ridge` takes.

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

    def both(statistic: Callable[..., np.ndarray]) -> tuple[float, tuple[float, float]]:
        resampled = statistic(predicted[draws], rated[draws])
        low, high = np.quantile(resampled, [0.025, 0.975]).tolist()
        return float(statistic(predicted, rated)), (low, high)

    correlation, correlation_interval = both(_spearman)
    agreement, agreement_interval = both(_sign_agreement)
    return FitQuality(
        texts=count,
        spearman=correlation,
        spearman_interval=correlation_interval,
        sign_agreement=agreement,
        sign_agreement_interval=agreement_interval,
    )


def _spearman(predicted: np.ndarray, rated: np.ndarray) -> np.ndarray:
    """The rank correlation of each row: scipy's spearmanr takes a millisecond for one row."""
    from scipy.stats import rankdata  # not above: scoring needs no scipy

    ranks = [rankdata(values, axis=-1) for values in (predicted, rated)]
    first, second = (rank - rank.mean(axis=-1, keepdims=True) for rank in ranks)
    squares = (first**2).sum(axis=-1) * (second**2).sum(axis=-1)
    return (first * second).sum(axis=-1) / np.sqrt(squares)


def _sign_agreement(predicted: np.ndarray, rated: np.ndarray) -> np.ndarray:
    return ((predicted > 0) == (rated > 0)).mean(axis=-1)
