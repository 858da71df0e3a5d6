"""Every pair of a sweep's losses, by reward and by judge, at equal KL, entropy and distinct-2."""

from typing import Literal

from experiments.report.analysis.matched import compare
from experiments.report.analysis.points import Point
from experiments.report.analysis.verdict import MARGIN, PairVerdict, decide, reference_spread
from experiments.sweep.results import SweepResults

ScoreName = Literal["reward", "judge"]
MatchedBy = Literal["kl", "entropy", "distinct_2"]
COMPARED_SCORES: tuple[ScoreName, ...] = ("reward", "judge")
MATCHED_BY: tuple[MatchedBy, ...] = ("kl", "entropy", "distinct_2")
# The pairs' verdicts by score and by what losses are matched by; without what was not measured.
Comparisons = dict[tuple[ScoreName, MatchedBy], list[PairVerdict]]


def comparisons(sweep: SweepResults, curves: dict[str, list[Point]]) -> Comparisons:
    """All verdicts; Holm's correction is for the pairs of one score and one match at a time."""
    margins = {score: equivalence_margin(sweep, score) for score in COMPARED_SCORES}
    return {
        (score, by): decide(compare(curves, f"{score}_difference", by), margins[score])
        for score in COMPARED_SCORES
        for by in MATCHED_BY
        if all(
            {f"{score}_difference", by} <= row.metrics.keys()
            for points in curves.values()
            for point in points
            for row in point.rows.values()
        )
    }


def equivalence_margin(sweep: SweepResults, score: ScoreName) -> float | None:
    """`MARGIN` in units of the score; None where the reference's samples were not kept."""
    spread = reference_spread(sweep, score)
    return None if spread is None else MARGIN * spread
