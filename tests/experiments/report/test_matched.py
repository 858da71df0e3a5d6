"""Rewards at equal KL, interpolated by hand."""

import numpy as np
import pytest

from experiments.report.analysis.matched import (
    compare,
    levels,
    range_weights,
    reward_at,
    sample_differences,
)
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


def test_three_seeds_are_paired():
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


def test_without_a_common_range_there_is_no_difference():
    apart = {("sigmoid", 1): [(1, 0.1), (2, 0.2)], ("fkl", 1): [(0.1, 0.1), (0.2, 0.2)]}
    single = {("sigmoid", 1): [(1, 0.1), (2, 0.2)], ("fkl", 1): [(1.5, 0.1)]}
    for lines in (apart, single):
        (pair,) = compare(grouped(lines))
        assert pair.overlap is None


def test_the_range_holds_in_every_seed():
    lines = {
        ("sigmoid", 1): [(1, 0.1), (3, 0.3)],
        ("sigmoid", 2): [(1.5, 0.1), (4, 0.3)],
        ("jsd", 1): [(0.5, 0.1), (2.5, 0.3)],
        ("jsd", 2): [(0.5, 0.1), (2.2, 0.3)],
    }
    (pair,) = compare(grouped(lines))
    assert (pair.overlap.low, pair.overlap.high) == (1.5, 2.2)
    assert pair.overlap.is_shared


def test_where_seeds_have_no_kl_in_common_each_is_matched_in_its_own_range():
    lines = {
        ("sigmoid", 1): [(1, 0.1), (3, 0.3)],
        ("sigmoid", 2): [(5, 0.1), (7, 0.3)],
        ("sigmoid", 3): [(1, 0.1), (3, 0.3)],
        ("jsd", 1): [(2, 0.0), (4, 0.2)],
        ("jsd", 2): [(5, 0.0), (7, 0.2)],
        ("jsd", 3): [(4, 0.0), (6, 0.2)],  # this seed has none at all
    }
    (pair,) = compare(grouped(lines))
    assert pair.overlap.ranges == {1: (2, 3), 2: (5, 7)}
    assert not pair.overlap.is_shared
    assert pair.overlap.difference.values == pytest.approx((0.2, 0.1))


def test_other_metrics_are_matched_within_each_seed():
    lines = {
        ("sigmoid", 1): [(1, 0.1), (3, 0.3)],
        ("sigmoid", 2): [(5, 0.1), (7, 0.3)],
        ("jsd", 1): [(1, 0.0), (3, 0.2)],
        ("jsd", 2): [(5, 0.0), (7, 0.2)],
    }
    (pair,) = compare(grouped(lines), by="entropy")  # 3.7 - 0.1 KL in the fakes
    assert not pair.overlap.is_shared
    assert pair.overlap.ranges == {1: pytest.approx((3.4, 3.6)), 2: pytest.approx((3.0, 3.2))}
    assert pair.overlap.difference.values == pytest.approx((0.1, 0.1))


def test_the_judge_is_compared_as_the_reward_is():
    rows = {
        f"{loss}-b{beta:g}-s1": report_fakes.row(loss, beta, 1, kl=kl, judge=judge)
        for loss, judge in (("sigmoid", 0.3), ("jsd", 0.1))
        for beta, kl in ((1, 1.0), (0.1, 2.0))
    }
    (pair,) = compare(
        curves(points(report_fakes.results("by-hand", rows))), score="judge_difference"
    )
    assert pair.overlap.difference.value == pytest.approx(0.2)


def test_samples_differ_as_their_means_do():
    sweep = report_fakes.as_read(report_fakes.with_samples(report_fakes.controlled()))
    found = curves(points(sweep))
    compared = [pair for pair in compare(found) if pair.overlap]
    assert len(compared) > 5
    for pair in compared:
        samples = sample_differences(found, pair)
        assert {values.shape for values in samples} == {(5, 3)}
        assert [values.mean() for values in samples] == pytest.approx(
            pair.overlap.difference.values, abs=1e-9
        )


def test_rows_of_other_prompts_or_without_samples_have_no_sample_differences():
    content = report_fakes.with_samples(report_fakes.controlled())
    row = content["rows"]["sigmoid-b1-s1"]
    other = next(name for name in content["references"] if name != row["reference"])
    row["reference"] = other
    found = curves(points(report_fakes.as_read(content)))
    with_sigmoid, *_ = compare(found)
    assert sample_differences(found, with_sigmoid) is None
    bare = curves(points(report_fakes.as_read(report_fakes.controlled())))
    assert all(sample_differences(bare, pair) is None for pair in compare(bare))


def test_rewards_at_round_levels_that_two_losses_reach():
    found = grouped({("sigmoid", 1): [(0.9, 0.1), (3, 0.3)], ("jsd", 1): [(0.4, 0.1), (1.6, 0.3)]})
    assert levels(found) == [1.0]
    assert reward_at(found["sigmoid"], 1.0).value == pytest.approx(0.1 + 0.2 * 0.1 / 2.1)
    assert reward_at(found["sigmoid"], 5.0) is None
