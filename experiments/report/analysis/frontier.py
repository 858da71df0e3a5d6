"""Which points no other point beats, how far below it the others lie, and how sure that is."""

from collections.abc import Sequence
from dataclasses import dataclass

from experiments.report.analysis.estimates import Estimate, minus, over_seeds
from experiments.report.analysis.points import Point
from fdpo.baselines.intervals import Interval

NO_CHANGE = Interval(value=0.0, low=0.0, high=0.0)
THE_REFERENCE = "the reference"


def undominated(costs: Sequence[float], gains: Sequence[float]) -> list[bool]:
    """For each point, whether no other has at least its gain at no more cost, and one better."""
    points = list(zip(costs, gains, strict=True))
    return [not any(_dominates(other, point) for other in points) for point in points]


def _dominates(other: tuple[float, float], point: tuple[float, float]) -> bool:
    """Whether `other` is at least as good in both of (cost, gain), and better in one."""
    return other[0] <= point[0] and other[1] >= point[1] and other != point


@dataclass(frozen=True)
class Standing:
    """How a point stands to the reward-KL frontier, which starts at the reference (0, 0)."""

    point: Point
    seeds_on: int  # of the point's seeds, in how many it is on that seed's own frontier
    rival: str | None  # the best point that dominates it on the means, or None on the frontier
    gap: Estimate | None  # the rival's reward less its own, over the seeds that both have

    @property
    def on(self) -> bool:
        """On the frontier: no other point dominates it on the means."""
        return self.rival is None

    @property
    def beaten(self) -> bool:
        """Below its rival by more than noise."""
        return self.gap is not None and self.gap.above


def standings(points: Sequence[Point]) -> list[Standing]:
    """Each point's standing, in the points' order."""
    seeds = sorted({seed for point in points for seed in point.seeds})
    on = {seed: _on_frontier(points, seed) for seed in seeds}
    return [
        Standing(
            point, sum(point.label in on[seed] for seed in point.seeds), *_rival(point, points)
        )
        for point in points
    ]


def _on_frontier(points: Sequence[Point], seed: int) -> set[str]:
    """Labels of the points that are undominated in one seed, the reference among them."""
    present = [point for point in points if seed in point.seeds]
    costs = [point.metric("kl", seed).value for point in present] + [0.0]
    gains = [point.metric("reward_difference", seed).value for point in present] + [0.0]
    free = undominated(costs, gains)[:-1]
    return {point.label for point, is_free in zip(present, free, strict=True) if is_free}


def _rival(point: Point, points: Sequence[Point]) -> tuple[str | None, Estimate | None]:
    """The dominating point of highest reward among those that share a seed, and its lead."""
    means = (point.kl.value, point.reward.value)
    better = [
        other
        for other in points
        if _dominates((other.kl.value, other.reward.value), means)
        and set(other.seeds) & set(point.seeds)
    ]
    if better:
        best = max(better, key=lambda other: other.reward.value)
        return best.label, _lead(best, point)
    if _dominates((0.0, 0.0), means):
        behind = [minus(NO_CHANGE, point.metric("reward_difference", seed)) for seed in point.seeds]
        return THE_REFERENCE, over_seeds(behind)
    return None, None


def _lead(first: Point, second: Point) -> Estimate:
    shared = [seed for seed in first.seeds if seed in second.seeds]
    return over_seeds(
        [
            minus(first.metric("reward_difference", seed), second.metric("reward_difference", seed))
            for seed in shared
        ]
    )
