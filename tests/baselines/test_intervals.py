"""Intervals over prompts: values by hand, coverage by simulation, behaviour at the edges."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fdpo.baselines.intervals import (
    Interval,
    mean_interval,
    paired_difference,
    statistic_interval,
)
from fdpo.core.randomness import stream
from fdpo.evaluation.metrics.preferences import win_rate

REWARDS = st.lists(
    st.lists(st.sampled_from([-1.5, 0.0, 0.25, 3.0]), min_size=2, max_size=2),
    min_size=3,
    max_size=3,
)


def rng(name="test"):
    return stream(0, name)


@pytest.mark.parametrize("constant", [0.1, 1.0, -3e-7])
def test_constant_numbers_give_a_point_without_a_warning(constant):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        interval = mean_interval(np.full(64, constant))
    assert interval == Interval(constant, constant, constant)


# Wilson by hand: 48 prompts, 8 of them 1, the rest 0; t with 47 degrees of freedom is 2.0117.
def test_shares_have_wilsons_interval_and_stay_in_range():
    share = mean_interval(np.repeat([1.0, 0.0], [8, 40]), share=True)
    draws = 47  # p (1 - p) / standard error², as the variance divides by P - 1
    k, p = 2.0117**2 / draws, 1 / 6
    half = (k * p * (1 - p) + k**2 / 4) ** 0.5
    ends = [(p + k / 2 - half) / (1 + k), (p + k / 2 + half) / (1 + k)]
    assert [share.low, share.high] == pytest.approx(ends, abs=1e-4)


@pytest.mark.parametrize("certain", [0.0, 1.0])
def test_a_share_without_spread_is_as_sure_as_a_draw_per_prompt(certain):
    share = mean_interval(np.full(48, certain), share=True)
    far = 2.0117**2 / (48 + 2.0117**2)
    ends = (0.0, far) if certain == 0 else (1 - far, 1.0)
    assert (share.low, share.high) == pytest.approx(ends, abs=1e-4)


def test_numbers_that_differ_by_rounding_alone_give_a_finite_interval():
    per_prompt = np.array([0.1, np.nextafter(0.1, 1), 0.1])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        interval = mean_interval(per_prompt)
    assert interval.low == pytest.approx(0.1, rel=1e-15)
    assert interval.high == pytest.approx(0.1, rel=1e-15)


def test_one_prompt_has_a_value_but_no_spread():
    assert mean_interval(np.array([2.5])) == Interval(2.5, None, None)
    assert statistic_interval(lambda prompts: 2.5, 1, rng()) == Interval(2.5, None, None)


@pytest.mark.parametrize("wrong", [[], [[1.0, 2.0]], [1.0, np.nan], [np.inf, 0.0]])
def test_mean_interval_refuses_what_is_not_a_vector_of_numbers(wrong):
    with pytest.raises(ValueError, match=r"one number per prompt|not a finite"):
        mean_interval(np.array(wrong))


def test_pairing_removes_what_the_prompt_gives_to_both():
    reference = np.array([10.0, -30.0, 20.0])
    change = np.array([1.0, 2.0, 1.5])
    paired, alone = paired_difference(reference + change, reference), mean_interval(change)
    assert vars(paired) == pytest.approx(vars(alone))


def test_a_pair_of_one_prompt_against_many_is_refused_rather_than_broadcast():
    with pytest.raises(ValueError, match="not the same prompts"):
        paired_difference(np.zeros(3), np.zeros(1))


@pytest.mark.parametrize("prompts", [3, 100, 101])
def test_statistic_interval_of_a_mean_is_students(prompts):
    per_prompt = rng().normal(size=prompts)
    interval = statistic_interval(lambda half: per_prompt[half].mean(), prompts, rng("halves"))
    expected = mean_interval(per_prompt)
    reach = expected.high - expected.value
    assert interval.value == pytest.approx(per_prompt.mean())
    assert interval.high - interval.value == pytest.approx(reach, rel=0.15)
    assert interval.value - interval.low == pytest.approx(reach, rel=0.15)


def test_statistic_interval_never_counts_a_prompt_twice():
    def distinct_share(prompts):
        return len(set(prompts.tolist())) / len(prompts)

    assert statistic_interval(distinct_share, 30, rng()) == Interval(1.0, 1.0, 1.0)


def test_statistic_interval_refuses_no_prompts_and_undefined_statistics():
    with pytest.raises(ValueError, match="at least 1"):
        statistic_interval(lambda prompts: 0.0, 0, rng())
    with pytest.raises(ValueError, match="nan"):
        statistic_interval(lambda prompts: np.nan if len(prompts) < 4 else 1.0, 4, rng())


def test_win_rate_by_hand():
    policy = np.array([[1.0, 3.0], [0.0, 0.0]])
    reference = np.array([[2.0, 3.0, 0.0], [1.0, 0.0, 5.0]])
    # prompt 0: 1 beats 0; 3 beats 2 and 0 and ties 3: 3.5 of 6. prompt 1: two ties: 1 of 6.
    assert win_rate(policy, reference) == pytest.approx([3.5 / 6, 1 / 6])


@given(REWARDS, REWARDS)
def test_win_rates_of_two_sides_sum_to_one(a, b):
    assert win_rate(a, b) + win_rate(b, a) == pytest.approx(np.ones(3))


def test_win_rate_compares_samples_of_the_same_prompt_only():
    easy, hard = [10.0, 11.0], [0.0, 1.0]
    policy = np.array([easy, hard]) + 0.1
    assert win_rate(policy, np.array([easy, hard])) == pytest.approx([0.75, 0.75])
    assert win_rate(policy, np.array([hard, easy])) == pytest.approx([1, 0])


@pytest.mark.parametrize(
    ("policy", "reference"),
    [
        (np.zeros(3), np.zeros(3)),
        (np.zeros((2, 3)), np.zeros((3, 3))),
        (np.zeros((2, 0)), np.zeros((2, 3))),
        (np.array([[np.nan]]), np.zeros((1, 1))),
    ],
)
def test_win_rate_refuses_what_it_cannot_compare(policy, reference):
    with pytest.raises(ValueError, match=r"needed|no rewards|NaN"):
        win_rate(policy, reference)
