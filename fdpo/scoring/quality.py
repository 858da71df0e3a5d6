"""How well a fitted scorer predicts human ratings of texts that no fit has seen."""

from collections.abc import Callable
from dataclasses import dataclass

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
