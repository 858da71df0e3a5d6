"""Which points are beaten, in places laid out by hand."""

import pytest

from experiments.report.analysis.frontier import THE_REFERENCE, standings, undominated
from experiments.report.analysis.points import points
from experiments.sweep.results import SweepResults
from tests.support import report_fakes


def sweep(*rows: tuple[str, float, int, float, float], reach: float = 0.11) -> SweepResults:
    """Rows of (loss, β, seed, KL, reward difference)."""
    made = {}
    for loss, beta, seed, kl, reward in rows:
        row = report_fakes.row(loss, beta, seed, kl=kl, reward=reward)
        row["metrics"]["reward_difference"] = report_fakes.interval(reward, reach)
        made[f"{loss}-b{beta:g}-s{seed}"] = row
    return report_fakes.results("by-hand", made)


def test_a_point_is_undominated_unless_another_is_as_good_in_both_and_better_in_one():
    costs = [1.0, 2.0, 2.0, 3.0, 3.0, 1.0]
    gains = [0.1, 0.3, 0.2, 0.3, 0.4, 0.1]
    assert undominated(costs, gains) == [True, True, False, False, True, True]


def test_standing_names_the_rival_and_how_far_it_is_ahead():
    found = standings(
        points(sweep(("sigmoid", 1, 1, 1.0, 0.5), ("fkl", 1, 1, 2.0, 0.2), ("jsd", 1, 1, 0.5, 0.3)))
    )
    by_curve = {standing.point.curve: standing for standing in found}
    assert by_curve["sigmoid"].on
    assert by_curve["jsd"].on
    beaten = by_curve["fkl"]
    assert (beaten.rival, beaten.seeds_on) == ("sigmoid β=1", 0)  # not jsd, which has less reward
    assert beaten.gap.value == pytest.approx(0.3)
    assert beaten.gap.low == pytest.approx(0.3 - 0.11 * 2**0.5)
    assert beaten.beaten


def test_a_lead_smaller_than_the_intervals_is_noise():
    found = standings(
        points(sweep(("sigmoid", 1, 1, 1.0, 0.30), ("fkl", 1, 1, 2.0, 0.25), reach=0.1))
    )
    assert [standing.on for standing in found] == [True, False]
    assert not found[1].beaten


def test_a_reward_below_the_references_is_beaten_by_the_reference():
    (standing,) = standings(points(sweep(("sigmoid", 1, 1, 1.0, -0.3))))
    assert standing.rival == THE_REFERENCE
    assert standing.gap.value == pytest.approx(0.3)
    assert standing.beaten


def test_each_seed_has_a_frontier_of_its_own():
    rows = [
        *(("sigmoid", 1, seed, 1.0, reward) for seed, reward in ((1, 0.3), (2, 0.3), (3, 0.1))),
        *(("jsd", 1, seed, 1.0, 0.2) for seed in (1, 2, 3)),
    ]
    sigmoid, jsd = standings(points(sweep(*rows)))
    assert (sigmoid.on, sigmoid.seeds_on) == (True, 2)  # mean 0.233
    assert (jsd.on, jsd.seeds_on) == (False, 1)
    assert jsd.gap.values == pytest.approx((0.1, 0.1, -0.1))  # paired by seed
    assert jsd.gap.basis == "seeds"
    assert not jsd.beaten  # 0.033 ± 4.30 × 0.067
