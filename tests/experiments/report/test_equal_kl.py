"""Rewards at equal KL, interpolated by hand."""

import numpy as np
import pytest

from experiments.report.analysis.equal_kl import compare, levels, range_weights, reward_at
from experiments.report.analysis.points import curves, points
from tests.support import report_fakes

BETAS = (1.0, 0.3, 0.1, 0.03)


def grouped(lines: dict[tuple[str, int], list[tuple[float, float]]]):
    """Curves from (loss, seed): [(KL, reward), …], one β after another."""
    rows = {
        f"{loss}-b{beta:g}-s{seed}": report_fakes.row(loss, beta, seed, kl=kl, reward=reward)
        for (loss, seed), line in lines.items()
        for beta, (kl, reward) in zip(BETAS, line, strict=False)
    }
    sweep = report_fakes.results("by-hand", rows)
    return curves(points(sweep))


def test_weights_at_one_kl_are_linear_interpolation():
    assert range_weights([1.0, 3.0], 1.5, 1.5) == pytest.approx([0.75, 0.25])


def test_weights_over_a_range_give_the_mean_of_the_straight_lines():
    # Rewards 0, 2, 0 at KL 0, 1, 3: the area is 1 + 2 over a width of 3.
    assert range_weights([0.0, 1.0, 3.0], 0.0, 3.0) @ [0, 2, 0] == pytest.approx(1.0)
    # From 0.5 to 2: (1 + 2) / 2 × 0.5 + (2 + 1) / 2 × 1 = 2.25 over 1.5.
    assert range_weights([0.0, 1.0, 3.0], 0.5, 2.0) @ [0, 2, 0] == pytest.approx(1.5)


def test_order_of_points_does_not_matter_and_equal_kls_share():
    assert range_weights([3.0, 0.0, 1.0], 0.5, 2.0) @ [0, 0, 2] == pytest.approx(1.5)
    assert range_weights([0.0, 1.0, 1.0], 1.0, 1.0) == pytest.approx([0, 0.5, 0.5])
    assert np.sum(range_weights([0.0, 1.0, 1.0, 4.0], 0.2, 3.0)) == pytest.approx(1.0)


def test_there_is_no_extrapolation():
    with pytest.raises(ValueError, match="not within"):
        range_weights([1.0, 2.0], 0.5, 1.5)


def test_two_losses_are_compared_over_the_range_that_both_reach():
    (pair,) = compare(
        grouped({("sigmoid", 1): [(1, 0.1), (3, 0.3)], ("jsd", 1): [(2, 0.1), (4, 0.3)]})
    )
    assert (pair.first, pair.second, pair.overlap.low, pair.overlap.high) == (
        "sigmoid",
        "jsd",
        2,
        3,
    )
    assert pair.overlap.difference.value == pytest.approx(0.25 - 0.15)
    # Each is 1/4 of one row and 3/4 of the other, each row ± 0.11.
    reach = 0.11 * (2 * (0.25**2 + 0.75**2)) ** 0.5
    assert pair.overlap.difference.low == pytest.approx(0.1 - reach)
    assert pair.overlap.difference.basis == "prompts"
    assert pair.leader is None


def test_three_seeds_are_paired_and_show_who_is_ahead():
    lines = {}
    for seed, lift in ((1, 0.0), (2, 0.5), (3, -0.5)):  # shared by both losses, so it cancels
        lines["sigmoid", seed] = [(1, 0.2 + lift), (2, 0.4 + lift)]
        lines["fkl", seed] = [(1, 0.1 + lift + seed / 1000), (2, 0.3 + lift + seed / 1000)]
    (pair,) = compare(grouped(lines))
    assert pair.overlap.difference.values == pytest.approx((0.099, 0.098, 0.097))
    reach = 4.302653 * 0.001 / 3**0.5
    assert (pair.overlap.difference.low, pair.overlap.difference.high) == pytest.approx(
        (0.098 - reach, 0.098 + reach), abs=1e-6
    )
    assert (pair.leader, pair.trailer) == ("sigmoid", "fkl")


def test_without_a_common_range_there_is_no_difference():
    apart = {("sigmoid", 1): [(1, 0.1), (2, 0.2)], ("fkl", 1): [(0.1, 0.1), (0.2, 0.2)]}
    single = {("sigmoid", 1): [(1, 0.1), (2, 0.2)], ("fkl", 1): [(1.5, 0.1)]}
    for lines in (apart, single):
        (pair,) = compare(grouped(lines))
        assert pair.overlap is None
        assert pair.leader is None


def test_the_range_holds_in_every_seed():
    lines = {
        ("sigmoid", 1): [(1, 0.1), (3, 0.3)],
        ("sigmoid", 2): [(1.5, 0.1), (4, 0.3)],
        ("jsd", 1): [(0.5, 0.1), (2.5, 0.3)],
        ("jsd", 2): [(0.5, 0.1), (2.2, 0.3)],
    }
    (pair,) = compare(grouped(lines))
    assert (pair.overlap.low, pair.overlap.high) == (1.5, 2.2)


def test_rewards_at_round_levels_that_two_losses_reach():
    found = grouped({("sigmoid", 1): [(0.9, 0.1), (3, 0.3)], ("jsd", 1): [(0.4, 0.1), (1.6, 0.3)]})
    assert levels(found) == [1.0]
    assert reward_at(found["sigmoid"], 1.0).value == pytest.approx(0.1 + 0.2 * 0.1 / 2.1)
    assert reward_at(found["sigmoid"], 5.0) is None
