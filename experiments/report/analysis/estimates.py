"""Numbers with intervals: differences of them, and one number of several seeds."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.stats import t

from fdpo.baselines.intervals import CONFIDENCE, Interval

SEEDS_FOR_SPREAD = 3  # of two, the t interval is 13 standard errors wide: it says nothing


@dataclass(frozen=True)
class Estimate:
    """A number over seeds with its 95 % interval, and what that interval is an interval over.

    `basis` is "seeds" where three or more give the spread of whole repeats, or "prompts" where
    it comes from the rows' own intervals, which hold no noise of training. `low` and `high` are
    None where a row has no interval. `values` are the single seeds' numbers, in seed order.
    """

    value: float
    low: float | None
    high: float | None
    basis: Literal["seeds", "prompts"]
    values: tuple[float, ...]

    @property
    def spread(self) -> float | None:
        """Standard deviation over seeds (n - 1), or None of one seed."""
        return float(np.std(self.values, ddof=1)) if len(self.values) > 1 else None

    @property
    def negated(self) -> "Estimate":
        """The same number with the opposite sign."""
        low = None if self.high is None else -self.high
        high = None if self.low is None else -self.low
        return Estimate(-self.value, low, high, self.basis, tuple(-v for v in self.values))

    @property
    def above(self) -> bool:
        """Above zero by more than noise."""
        return self.low is not None and self.low > 0

    @property
    def below(self) -> bool:
        """Below zero by more than noise."""
        return self.high is not None and self.high < 0


def over_seeds(seeds: Sequence[Interval]) -> Estimate:
    """The mean over seeds, with its interval.

    From three seeds on it is Student's: mean ± t(0.975, n - 1) s / sqrt(n), and holds whatever
    differs between seeds: prompts, reward model, samples and training. From fewer it is put
    together from the rows' own intervals over prompts, taken as independent.
    """
    values = tuple(seed.value for seed in seeds)
    count = len(values)
    mean = float(np.mean(values))
    if count >= SEEDS_FOR_SPREAD:
        error = float(np.std(values, ddof=1)) / count**0.5
        reach = float(t.ppf((1 + CONFIDENCE) / 2, count - 1)) * error
        return Estimate(mean, mean - reach, mean + reach, "seeds", values)
    total = combination(seeds, [1 / count] * count)
    return Estimate(mean, total.low, total.high, "prompts", values)


def combination(parts: Sequence[Interval], weights: Iterable[float]) -> Interval:
    """sum_i w_i x_i of independent x_i; each side's distances add up in quadrature.

    Rows of one seed share held-out prompts, so they are not independent; what they share cancels
    in a difference, which makes its interval here too wide rather than too narrow.
    """
    weights = list(weights)
    value = float(sum(w * part.value for w, part in zip(weights, parts, strict=True)))
    down = up = 0.0
    for weight, part in zip(weights, parts, strict=True):
        if part.low is None or part.high is None:
            return Interval(value=value, low=None, high=None)
        ends = weight * (part.low - part.value), weight * (part.high - part.value)
        down += min(ends) ** 2
        up += max(ends) ** 2
    return Interval(value=value, low=value - down**0.5, high=value + up**0.5)


def minus(first: Interval, second: Interval) -> Interval:
    """first - second, as `combination` has it."""
    return combination([first, second], [1, -1])
