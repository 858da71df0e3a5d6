"""The published table of somvy/slic-hf beside a sweep of the same losses and β."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy.stats import ttest_1samp

from experiments.report.analysis.points import Point
from experiments.report.analysis.verdict import ERROR, holm

PUBLISHED_SWEEP = "seed-table"
# Mean reward of 48 samples by loss and β, as docs/imdb.md has it.
PUBLISHED_REWARDS = {
    ("sigmoid", 0.1): 2.90,
    ("sigmoid", 0.5): 2.74,
    ("sigmoid", 1.0): 2.10,
    ("sigmoid", 10.0): 1.16,
    ("hinge", 0.1): 2.86,
    ("hinge", 0.5): 2.00,
    ("hinge", 1.0): 1.50,
    ("hinge", 10.0): 1.10,
    ("jsd", 0.1): 2.67,
    ("jsd", 1.0): 1.40,
    ("fkl", 0.1): 0.92,
    ("fkl", 1.0): 0.99,
    ("alpha 0.3", 0.1): 1.89,
    ("alpha 0.3", 1.0): 1.48,
    ("alpha 0.5", 0.1): 1.54,
    ("alpha 0.5", 1.0): 1.25,
    ("alpha 0.7", 0.1): 1.21,
    ("alpha 0.7", 1.0): 1.48,
}


@dataclass(frozen=True)
class Orderings:
    """Of all pairs of published rows with unequal rewards, how they are ordered here.

    `untold` are those whose order is within noise: Student's test paired by held-out prompt, by
    Holm's correction, which with one seed holds no noise of training.
    """

    same: int
    opposite: int
    untold: int


def published_points(points: Sequence[Point]) -> list[tuple[Point, float]]:
    """The points that the table has, with their published rewards, the highest first."""
    pairs = [
        (point, PUBLISHED_REWARDS[point.curve, point.beta])
        for point in points
        if (point.curve, point.beta) in PUBLISHED_REWARDS
    ]
    return sorted(pairs, key=lambda pair: -pair[1])


def orderings(rows: Sequence[tuple[Point, float]]) -> Orderings | None:
    """How the rows' orderings come out here; None where samples of equal prompts were not kept."""
    differences = []
    for (first, high), (second, low) in combinations(rows, 2):
        if high == low:
            continue
        paired = _by_prompt(first, second)
        if paired is None:
            return None
        differences.append(paired)
    if not differences:
        return None
    found = [p <= ERROR for p in holm([_p_value(paired) for paired in differences])]
    above = [float(paired.mean()) > 0 for paired in differences]
    same = sum(told and up for told, up in zip(found, above, strict=True))
    return Orderings(same, sum(found) - same, len(found) - sum(found))


def _by_prompt(first: Point, second: Point) -> np.ndarray | None:
    """The first's mean reward less the second's for each prompt of the seeds that both have."""
    parts = []
    for seed in first.seeds:
        if seed not in second.seeds:
            continue
        one, other = first.rows[seed], second.rows[seed]
        if one.heldout is None or other.heldout is None or one.reference != other.reference:
            return None
        means = [np.mean(row.reward, axis=1) for row in (one.heldout, other.heldout)]
        parts.append(means[0] - means[1])
    return np.concatenate(parts) if parts else None


def _p_value(values: np.ndarray) -> float:
    if len(values) < 2:
        return 1.0
    if np.ptp(values) == 0:  # values without any spread are certain
        return 0.0 if values[0] else 1.0
    return float(ttest_1samp(values, 0.0).pvalue)
