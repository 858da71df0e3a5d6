"""Numbers of several seeds and differences, worked by hand."""

import pytest

from experiments.report.analysis.estimates import combination, minus, over_seeds
from fdpo.baselines.intervals import Interval


def test_three_seeds_give_students_interval():
    seeds = [Interval(value=v, low=v - 9, high=v + 9) for v in (1.0, 2.0, 3.0)]
    found = over_seeds(seeds)
    reach = 4.302653 / 3**0.5  # t(0.975, 2) times the standard error 1 / sqrt(3)
    assert (found.value, found.basis, found.values) == (2.0, "seeds", (1.0, 2.0, 3.0))
    assert (found.low, found.high) == pytest.approx((2 - reach, 2 + reach), abs=1e-6)
    assert found.spread == pytest.approx(1.0)


def test_one_seed_keeps_the_rows_own_interval():
    found = over_seeds([Interval(value=0.4, low=0.3, high=0.6)])
    assert (found.value, found.low, found.high) == pytest.approx((0.4, 0.3, 0.6))
    assert found.basis == "prompts"
    assert found.spread is None


def test_two_seeds_put_the_rows_intervals_together():
    rows = [Interval(value=1.0, low=0.7, high=1.3), Interval(value=2.0, low=1.6, high=2.4)]
    found = over_seeds(rows)
    assert (found.value, found.low, found.high) == pytest.approx((1.5, 1.25, 1.75))  # 3, 4, 5
    assert found.basis == "prompts"


def test_a_difference_adds_distances_in_quadrature_and_turns_the_second_round():
    first = Interval(value=1.0, low=0.7, high=1.1)
    second = Interval(value=0.5, low=0.2, high=0.9)
    found = minus(first, second)
    assert found.value == pytest.approx(0.5)
    assert found.low == pytest.approx(0.5 - 0.5)  # sqrt(0.3² + 0.4²)
    assert found.high == pytest.approx(0.5 + (0.1**2 + 0.3**2) ** 0.5)


def test_without_an_interval_there_is_none_of_the_whole():
    unknown = Interval(value=2.0, low=None, high=None)
    found = combination([Interval(value=1.0, low=0.0, high=2.0), unknown], [0.5, 0.5])
    assert found == Interval(value=1.5, low=None, high=None)
    assert not over_seeds([unknown]).above
    assert not over_seeds([unknown]).below


@pytest.mark.parametrize(
    ("low", "high", "above", "below"),
    [(0.1, 0.3, True, False), (-0.3, -0.1, False, True), (-0.1, 0.3, False, False)],
)
def test_more_than_noise_is_an_interval_without_zero(low, high, above, below):
    found = over_seeds([Interval(value=(low + high) / 2, low=low, high=high)])
    assert (found.above, found.below) == (above, below)
