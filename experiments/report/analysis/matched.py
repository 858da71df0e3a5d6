"""Losses compared at an equal KL, entropy or distinct-2, each interpolated over its β."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise

import numpy as np

from experiments.report.analysis.estimates import Estimate, combination, minus, over_seeds
from experiments.report.analysis.points import Point
from fdpo.baselines.intervals import Interval


@dataclass(frozen=True)
class Overlap:
    """What two curves both cover of the metric they are matched by, and how they differ there.

    `ranges` are its ends by seed: of KL one range, which is covered in every seed, where there is
    one; else, and of other metrics, whose level differs between seeds, each seed's own.
    `difference` is the first curve's score less the second's, averaged over each seed's range, with
    `values` in the seeds' order.
    """

    ranges: dict[int, tuple[float, float]]
    difference: Estimate

    @property
    def low(self) -> float:
        """The lowest of the ranges' ends."""
        return min(low for low, _ in self.ranges.values())

    @property
    def high(self) -> float:
        """The highest of the ranges' ends."""
        return max(high for _, high in self.ranges.values())

    @property
    def is_shared(self) -> bool:
        """Whether all seeds have one range."""
        return len(set(self.ranges.values())) == 1


@dataclass(frozen=True)
class CurvePair:
    """Two curves compared; `overlap` is None where they have no range in common."""

    first: str
    second: str
    overlap: Overlap | None


def range_weights(kls: Sequence[float], low: float, high: float) -> np.ndarray:
    """Weights w, [n], such that w · scores is the mean over [low, high] of the score by KL.

    kls: [n], nats, or what else curves are matched by, in any order. Between neighbouring points
    the score is a straight line; points of equal KL count as one with their mean score. With
    low = high it is the score at that KL.
    Raises ValueError when the points don't cover [low, high].
    """
    places: dict[float, list[int]] = {}
    for place, kl in enumerate(kls):
        places.setdefault(float(kl), []).append(place)
    unique = sorted(places)
    if not unique[0] <= low <= high <= unique[-1]:
        raise ValueError(f"[{low}, {high}] is not within [{unique[0]}, {unique[-1]}]")
    weight = dict.fromkeys(unique, 0.0)
    if low == high and low in weight:
        weight[low] = 1.0
    else:
        for left, right in pairwise(unique):
            start, end = max(low, left), min(high, right)
            if start > end or (start == end and low < high):
                continue
            share = (end - start) / (high - low) if low < high else 1.0
            right_part = ((start + end) / 2 - left) / (right - left)  # mean of its hat function
            weight[left] += share * (1 - right_part)
            weight[right] += share * right_part
    return np.array([weight[float(kl)] / len(places[float(kl)]) for kl in kls])


def compare(
    curves: dict[str, list[Point]], score: str = "reward_difference", by: str = "kl"
) -> list[CurvePair]:
    """Every pair of curves, in the order of `curves`: a score's difference at equal `by`.

    Args:
        curves: points by curve.
        score: "reward_difference" or "judge_difference".
        by: the metric that curves are matched by.
    """
    return [
        CurvePair(first, second, _overlap(curves[first], curves[second], score, by))
        for first, second in combinations(curves, 2)
    ]


def _overlap(
    first: Sequence[Point], second: Sequence[Point], score: str, by: str
) -> Overlap | None:
    ranges = {
        seed: (
            max(_span(points, seed, by)[0] for points in (first, second)),
            min(_span(points, seed, by)[1] for points in (first, second)),
        )
        for seed in _seeds(first)
        if seed in _seeds(second)
    }
    if by == "kl" and ranges:
        low, high = max(low for low, _ in ranges.values()), min(high for _, high in ranges.values())
        if low <= high:
            ranges = dict.fromkeys(ranges, (low, high))
    ranges = {seed: (low, high) for seed, (low, high) in ranges.items() if low <= high}
    if not ranges:
        return None
    differences = [
        minus(
            mean_score(first, seed, low, high, score, by),
            mean_score(second, seed, low, high, score, by),
        )
        for seed, (low, high) in ranges.items()
    ]
    return Overlap(ranges, over_seeds(differences))


def sample_differences(
    curves: dict[str, list[Point]], pair: CurvePair, score: str = "reward_difference"
) -> list[np.ndarray] | None:
    """The difference at equal KL of every held-out sample: [prompts, samples] for each seed.

    Each mean is the seed's `difference.values`: both curves' weights sum to 1, so the reference's
    score cancels. None where a row's samples were not kept or were drawn for other prompts, and of
    a pair with no overlap.
    """
    if pair.overlap is None:
        return None
    differences = []
    for seed, (low, high) in pair.overlap.ranges.items():
        sides = [
            [point for point in curves[name] if seed in point.seeds]
            for name in (pair.first, pair.second)
        ]
        rows = [point.rows[seed] for side in sides for point in side]
        if rows[0].reference is None or len({row.reference for row in rows}) > 1:
            return None
        first, second = (_mean_sample(side, seed, low, high, score) for side in sides)
        differences.append(first - second)
    return differences


def _mean_sample(
    points: Sequence[Point], seed: int, low: float, high: float, score: str
) -> np.ndarray:
    """A curve's scores of one seed's samples, averaged over a range of KL: [prompts, samples]."""
    weights = range_weights([point.metric("kl", seed).value for point in points], low, high)
    name = score.removesuffix("_difference")
    values = [np.array(getattr(point.rows[seed].heldout, name)) for point in points]
    return np.tensordot(weights, values, axes=1)


def mean_score(
    points: Sequence[Point],
    seed: int,
    low: float,
    high: float,
    score: str = "reward_difference",
    by: str = "kl",
) -> Interval:
    """A curve's score in one seed, averaged over a range of `by` that it covers."""
    points = [point for point in points if seed in point.seeds]
    weights = range_weights([point.metric(by, seed).value for point in points], low, high)
    return combination([point.metric(score, seed) for point in points], weights)


def reward_at(
    points: Sequence[Point], kl: float, score: str = "reward_difference"
) -> Estimate | None:
    """A curve's reward above the reference's at one KL, or None unless every seed reaches it.

    `score` names another metric in its place.
    """
    seeds = _seeds(points)
    if not seeds or not all(
        low <= kl <= high for low, high in (_span(points, seed, "kl") for seed in seeds)
    ):
        return None
    return over_seeds([mean_score(points, seed, kl, kl, score) for seed in seeds])


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


def _span(points: Sequence[Point], seed: int, by: str) -> tuple[float, float]:
    values = [point.metric(by, seed).value for point in points if seed in point.seeds]
    return min(values), max(values)
