"""What is computed of one sweep before anything is said or drawn of it."""

from collections.abc import Sequence
from dataclasses import dataclass

from experiments.report.analysis import frontier
from experiments.report.analysis.baselines import BaselinePoint, baseline_points
from experiments.report.analysis.comparisons import (
    Comparisons,
    comparisons,
    equivalence_margin,
)
from experiments.report.analysis.frontier import Standing
from experiments.report.analysis.matched import compare, sample_differences
from experiments.report.analysis.nested import VarianceParts, pooled_parts, variance_parts
from experiments.report.analysis.over_optimisation import OverOptimisation, over_optimisation
from experiments.report.analysis.points import Point, curves, points
from experiments.report.analysis.published import (
    PUBLISHED_SWEEP,
    Orderings,
    orderings,
    published_points,
)
from experiments.report.analysis.verdict import PairVerdict
from experiments.sweep.results import SweepResults


@dataclass(frozen=True)
class Evidence:
    """What the sentences about one sweep are computed from.

    `variance` splits that of the differences at equal KL; None where samples were not kept.
    `published` are the rows of a published table that the sweep repeats, and `orderings` how theirs
    come out; None where that can't be told.
    """

    sweep: SweepResults
    points: Sequence[Point]
    standings: Sequence[Standing]
    comparisons: Comparisons
    margin: float | None
    variance: VarianceParts | None
    along_kl: Sequence[OverOptimisation]
    baselines: Sequence[BaselinePoint]
    published: Sequence[tuple[Point, float]]
    orderings: Orderings | None

    @property
    def by_reward(self) -> list[PairVerdict]:
        """The pairs' verdicts by reward at equal KL."""
        return self.comparisons["reward", "kl"]

    @property
    def by_judge(self) -> list[PairVerdict]:
        """The same by the judge; empty where there is none."""
        return self.comparisons.get(("judge", "kl"), [])


def gather(sweep: SweepResults) -> Evidence:
    """All of it, computed."""
    sweep_points = points(sweep)
    by_curve = curves(sweep_points)
    differences = [
        samples
        for pair in compare(by_curve)
        if (samples := sample_differences(by_curve, pair)) is not None
    ]
    parts = [part for samples in differences if (part := variance_parts(samples))]
    repeated = published_points(sweep_points) if sweep.sweep == PUBLISHED_SWEEP else []
    return Evidence(
        sweep=sweep,
        points=sweep_points,
        standings=frontier.standings(sweep_points),
        comparisons=comparisons(sweep, by_curve),
        margin=equivalence_margin(sweep, "reward"),
        variance=pooled_parts(parts),
        along_kl=over_optimisation(by_curve),
        baselines=baseline_points(sweep),
        published=repeated,
        orderings=orderings(repeated),
    )
