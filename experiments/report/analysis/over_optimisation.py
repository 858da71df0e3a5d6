"""How reward and judge go on with KL, and where the judge stops following the reward.

Gao et al. (arXiv 2210.10760) call the trained reward the proxy and a better one gold, here the
judge, and find both near d·(a − b·d) with d = √KL: a curve with b > 0 turns down at √KL = a / 2b.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from experiments.report.analysis.estimates import Estimate, minus, over_seeds
from experiments.report.analysis.points import Point
from fdpo.baselines.intervals import Interval

POINTS_FOR_A_FIT = 3  # of two unknowns, so that not every curve fits


@dataclass(frozen=True)
class RootKlFit:
    """score = d·(slope − bend·d) with d = √KL: the mean over seeds of each seed's least squares."""

    slope: Estimate
    bend: Estimate

    @property
    def peak(self) -> float | None:
        """The KL of the highest score in nats, or None of a curve that does not turn."""
        slope, bend = self.slope.value, self.bend.value
        return (slope / (2 * bend)) ** 2 if slope > 0 and bend > 0 else None


@dataclass(frozen=True)
class OverOptimisation:
    """One curve's reward and judge along KL.

    `reached` is the largest KL of its points. The last step's changes are those from the point
    before it, paired by seed; None where no seed has both.
    """

    curve: str
    reached: float
    reward: RootKlFit
    judge: RootKlFit
    last_step_reward: Estimate | None
    last_step_judge: Estimate | None

    def peak_reached(self, fit: RootKlFit) -> float | None:
        """The KL of a fit's highest score, where the curve's points go beyond it."""
        return fit.peak if fit.peak is not None and fit.peak < self.reached else None

    @property
    def parts_at(self) -> float | None:
        """The KL where the judge has turned down, by more than noise, and the reward has not."""
        peak, reward_peak = self.peak_reached(self.judge), self.reward.peak
        if not self.judge.bend.above or peak is None:
            return None
        return peak if reward_peak is None or reward_peak > peak else None


def over_optimisation(curves: dict[str, list[Point]]) -> list[OverOptimisation]:
    """Every curve that has points enough in some seed."""
    found = [_of_curve(name, points) for name, points in curves.items()]
    return [one for one in found if one]


def _of_curve(name: str, points: Sequence[Point]) -> OverOptimisation | None:
    if not all(point.judged for point in points):
        return None
    reward, judge = _fit(points, "reward_difference"), _fit(points, "judge_difference")
    if reward is None or judge is None:
        return None
    *_, before, last = sorted(points, key=lambda point: point.kl.value)
    return OverOptimisation(
        name,
        last.kl.value,
        reward,
        judge,
        _change(before, last, "reward_difference"),
        _change(before, last, "judge_difference"),
    )


def _fit(points: Sequence[Point], score: str) -> RootKlFit | None:
    slopes, bends = [], []
    for seed in sorted({seed for point in points for seed in point.seeds}):
        present = [point for point in points if seed in point.seeds]
        if len(present) < POINTS_FOR_A_FIT:
            continue
        root = np.sqrt([point.metric("kl", seed).value for point in present])
        scores = np.array([point.metric(score, seed).value for point in present])
        slope, bend = np.linalg.lstsq(np.stack([root, -(root**2)], axis=1), scores)[0]
        slopes.append(Interval(value=float(slope), low=None, high=None))
        bends.append(Interval(value=float(bend), low=None, high=None))
    return RootKlFit(over_seeds(slopes), over_seeds(bends)) if slopes else None


def _change(before: Point, last: Point, score: str) -> Estimate | None:
    shared = [seed for seed in last.seeds if seed in before.seeds]
    if not shared:
        return None
    return over_seeds([minus(last.metric(score, s), before.metric(score, s)) for s in shared])


def ceiling_shares(curves: dict[str, list[Point]]) -> dict[str, float]:
    """Of each curve's samples at its largest KL, the share that has the sweep's highest reward.

    Empty where no samples were kept. Of a reward without a ceiling at most one sample has it.
    """
    values = {
        name: [
            np.array(row.heldout.reward)
            for row in max(points, key=lambda point: point.kl.value).rows.values()
            if row.heldout
        ]
        for name, points in curves.items()
    }
    every = [row.max() for rows in values.values() for row in rows]
    if not every:
        return {}
    return {
        name: float(np.mean(np.concatenate([row.ravel() for row in rows]) >= max(every)))
        for name, rows in values.items()
        if rows
    }
