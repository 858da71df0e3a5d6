"""Pairs of losses ahead, equivalent or undecided, against values worked out by hand."""

import numpy as np
import pytest
from scipy.stats import t, ttest_rel

from experiments.report.analysis.estimates import over_seeds
from experiments.report.analysis.matched import CurvePair, Overlap
from experiments.report.analysis.verdict import (
    PairVerdict,
    decide,
    holm,
    reference_spread,
    smallest_found,
)
from fdpo.baselines.intervals import Interval
from tests.support import report_fakes


def pair(first: str, second: str, *values: float, seeds: tuple[int, ...] = ()) -> CurvePair:
    overlap = Overlap(
        dict.fromkeys(seeds or range(1, len(values) + 1), (1.0, 2.0)),
        over_seeds([Interval(value, value - 0.1, value + 0.1) for value in values]),
    )
    return CurvePair(first, second, overlap)


def pairs_of(rewards: dict[str, tuple[float, ...]]) -> list[CurvePair]:
    names = list(rewards)
    return [
        pair(one, two, *np.subtract(rewards[one], rewards[two]))
        for place, one in enumerate(names)
        for two in names[place + 1 :]
    ]


def test_holms_steps_by_hand():
    # Sorted: 0.01 × 3, 0.02 × 2, 0.04 × 1; then none below the one before.
    assert holm([0.04, 0.01, 0.02]) == pytest.approx([0.04, 0.03, 0.04])
    assert holm([0.5, 0.6]) == [1.0, 1.0]


def test_a_single_pair_is_students_paired_test():
    first, second = (0.3, 0.5, 0.45, 0.38), (0.2, 0.31, 0.3, 0.33)
    (found,) = decide(pairs_of({"sigmoid": first, "fkl": second}), None)
    expected = ttest_rel(first, second)
    assert found.p == pytest.approx(expected.pvalue)
    ends = expected.confidence_interval(0.95)
    assert (found.difference.low, found.difference.high) == pytest.approx((ends.low, ends.high))
    assert (found.outcome, found.leader, found.trailer) == ("ahead", "sigmoid", "fkl")


def test_the_spread_is_that_of_losses_by_seeds_or_the_pairs_own_where_that_is_larger():
    rewards = {"a": (0.1, 0.5, 0.2), "b": (0.3, 0.3, 0.2), "c": (0.2, 0.4, 0.1)}
    table = np.array(list(rewards.values()))
    residuals = table - table.mean(axis=0) - table.mean(axis=1, keepdims=True) + table.mean()
    pooled = (2 * (residuals**2).sum() / 4) ** 0.5  # (3 - 1)(3 - 1) degrees of freedom
    for found in decide(pairs_of(rewards), None):
        own = np.std(found.difference.values, ddof=1)
        assert found.design.spread == pytest.approx(pooled)
        assert found.design.freedom == 4
        assert found.spread == pytest.approx(max(own, pooled))
        reach = t.ppf(0.975, 4) * found.spread / 3**0.5
        assert found.difference.high - found.difference.value == pytest.approx(reach)


def test_losses_that_lack_seeds_have_as_many_fewer_degrees_of_freedom():
    found = decide(
        [
            pair("a", "b", 0.1, 0.2, 0.1, 0.3, 0.2),
            pair("a", "c", 0.1, 0.2, 0.4),
            pair("b", "c", 0.1, 0.0, 0.3),
        ],
        None,
    )
    # 5 + 5 + 3 cells less 3 losses less 5 seeds plus 1.
    assert {verdict.design.freedom for verdict in found} == {6}


def test_within_the_margin_is_equivalent_and_on_its_edge_is_not():
    values = (0.01, -0.01, 0.0)
    reach = t.ppf(0.95, 2) * 0.01 / 3**0.5  # of a 90 % interval
    for margin, outcome in ((1.01 * reach, "equivalent"), (0.99 * reach, "undecided")):
        (found,) = decide([pair("a", "b", *values)], margin)
        assert found.outcome == outcome
    (unknown,) = decide([pair("a", "b", *values)], None)
    assert unknown.outcome == "undecided"


def test_a_difference_beyond_the_margin_is_not_equivalent_however_sure():
    (found,) = decide([pair("a", "b", 0.2, 0.201, 0.199)], 0.1)
    assert found.outcome == "ahead"


def test_equal_values_are_certain():
    (same,) = decide([pair("a", "b", 0.0, 0.0, 0.0)], 0.1)
    assert (same.outcome, same.p) == ("equivalent", 1.0)
    (apart,) = decide([pair("a", "b", -0.5, -0.5, -0.5)], 0.1)
    assert (apart.outcome, apart.leader, apart.p) == ("ahead", "b", 0.0)


def test_fewer_than_three_seeds_decide_nothing():
    found = decide([pair("a", "b", 0.5, 0.6), CurvePair("a", "c", None)], 0.1)
    assert [(verdict.outcome, verdict.p) for verdict in found] == [
        ("undecided", None),
        ("not compared", None),
    ]
    assert found[0].seeds_needed is None
    assert smallest_found(found) is None


def test_pairs_with_seeds_enough_are_decided_beside_pairs_without():
    found = decide([pair("a", "b", 0.5, 0.51, 0.52), pair("a", "c", 0.5, 0.6)], 0.1)
    assert [verdict.outcome for verdict in found] == ["ahead", "undecided"]
    assert found[0].design.tests == 1


def drawn(count: int, seeds: int, mean: float, spread: float) -> list[PairVerdict]:
    rng = np.random.default_rng(5)
    return [
        decide([pair("a", "b", *rng.normal(mean, spread, seeds))], None)[0] for _ in range(count)
    ]


def test_the_smallest_difference_found_is_found_8_times_in_10():
    values = np.array([-1.0, 0.0, 1.0, 0.5, -0.5])
    values *= 0.1 / values.std(ddof=1)
    size = smallest_found(decide([pair("a", "b", *values)], None))
    found = drawn(2000, 5, size, 0.1)
    assert np.mean([verdict.outcome == "ahead" for verdict in found]) == pytest.approx(
        0.8, abs=0.03
    )


def test_as_many_seeds_as_are_said_to_decide_do_so_8_times_in_10():
    values = np.array([-1.0, 0.0, 1.0])
    values *= 0.1 / values.std(ddof=1)
    (verdict,) = decide([pair("a", "b", *(0.08 + values))], None)
    assert verdict.outcome == "undecided"
    found = drawn(2000, verdict.seeds_needed, 0.08, 0.1)
    assert np.mean([v.outcome == "ahead" for v in found]) >= 0.78
    fewer = drawn(2000, verdict.seeds_needed - 1, 0.08, 0.1)
    assert np.mean([v.outcome == "ahead" for v in fewer]) < 0.82


def test_the_margins_unit_is_the_spread_of_the_references_samples():
    content = report_fakes.with_samples(report_fakes.controlled(), prompts=200, spread=0.5)
    sweep = report_fakes.as_read(content)
    assert reference_spread(sweep, "reward") == pytest.approx(0.5, rel=0.1)
    assert reference_spread(report_fakes.as_read(report_fakes.controlled()), "judge") is None
