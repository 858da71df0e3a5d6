"""Losses compared at equal KL: a loss's reward as a function of KL, interpolated over its β."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from experiments.report.analysis.estimates import Estimate, combination, minus, over_seeds
from experiments.report.analysis.points import Point
from fdpo.evaluation.metrics.intervals import Interval


@dataclass(frozen=True)
class KlOverlap:
    """The KL range that two curves both cover, and the first's reward less the second's there."""

    low: float  # nats
    high: float
    difference: Estimate


@dataclass(frozen=True)
class CurvePair:
    """Two curves compared at equal KL; `overlap` is None where they have no range in common."""

    first: str
    second: str
    overlap: KlOverlap | None

    @property
    def leader(self) -> str | None:
        """The curve that is ahead by more than noise."""
        if self.overlap is None:
            return None
        if self.overlap.difference.above:
            return self.first
        return self.second if self.overlap.difference.below else None

    @property
    def trailer(self) -> str | None:
        """The curve that is behind by more than noise."""
        return {self.first: self.second, self.second: self.first}.get(self.leader or "")


def range_weights(kls: Sequence[float], low: float, high: float) -> np.ndarray:
    """Weights w, [n], such that w · rewards is the mean over [low, high] of the reward by KL.

    kls: [n], nats, any order. Between neighbouring points the reward is a straight line; points of
    equal KL count as one with their mean reward. With low = high it is the reward at that KL.
    Raises ValueError when the points don't cover [low, high].
    """
    unique, index = np.unique(np.asarray(kls, dtype=np.float64), return_inverse=True)
    if not unique[0] <= low <= high <= unique[-1]:
        raise ValueError(f"[{low}, {high}] is not within [{unique[0]}, {unique[-1]}]")
    nodes = np.unique([low, high, *unique[(unique > low) & (unique < high)]])
    hats = np.array([np.interp(nodes, unique, unit) for unit in np.eye(len(unique))])
    at_unique = hats[:, 0] if low == high else np.trapezoid(hats, nodes, axis=1) / (high - low)
    return at_unique[index] / np.bincount(index)[index]


def compare(curves: dict[str, list[Point]]) -> list[CurvePair]:
    """Every pair of curves, in the order of `curves`."""
    return [
        CurvePair(first, second, _overlap(curves[first], curves[second]))
        for first, second in combinations(curves, 2)
    ]


def _overlap(first: Sequence[Point], second: Sequence[Point]) -> KlOverlap | None:
    seeds = [seed for seed in _seeds(first) if seed in _seeds(second)]
    if not seeds:
        return None
    spans = [_span(points, seed) for points in (first, second) for seed in seeds]
    low, high = max(span[0] for span in spans), min(span[1] for span in spans)
    if low > high:
        return None
    differences = [
        minus(mean_reward(first, seed, low, high), mean_reward(second, seed, low, high))
        for seed in seeds
    ]
    return KlOverlap(low, high, over_seeds(differences))


def mean_reward(points: Sequence[Point], seed: int, low: float, high: float) -> Interval:
    """A curve's reward above the reference's in one seed, averaged over a KL range it covers."""
    points = [point for point in points if seed in point.seeds]
    weights = range_weights([point.metric("kl", seed).value for point in points], low, high)
    return combination([point.metric("reward_difference", seed) for point in points], weights)


def reward_at(points: Sequence[Point], kl: float) -> Estimate | None:
    """A curve's reward above the reference's at one KL, or None unless every seed reaches it."""
    seeds = _seeds(points)
    if not seeds or not all(
        low <= kl <= high for low, high in (_span(points, seed) for seed in seeds)
    ):
        return None
    return over_seeds([mean_reward(points, seed, kl, kl) for seed in seeds])


def levels(curves: dict[str, list[Point]]) -> list[float]:
    """Round KLs (1, 2, 5 times a power of ten) that at least two curves reach in every seed."""
    rounds = [digit * 10.0**power for power in range(-3, 4) for digit in (1, 2, 5)]
    reached = {
        kl: sum(reward_at(points, kl) is not None for points in curves.values()) for kl in rounds
    }
    return [kl for kl, count in reached.items() if count > 1]


def _seeds(points: Sequence[Point]) -> list[int]:
    """Seeds in which a curve has two points or more, so that there is a line between them."""
    every = [seed for point in points for seed in point.seeds]
    return sorted({seed for seed in every if every.count(seed) > 1})


def _span(points: Sequence[Point], seed: int) -> tuple[float, float]:
    kls = [point.metric("kl", seed).value for point in points if seed in point.seeds]
    return min(kls), max(kls)
