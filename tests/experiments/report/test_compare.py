"""Comparisons at equal KL: interpolation, intervals, outcomes and tests."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.stats import t, ttest_rel

from experiments.report import compare as comparing
from experiments.report.compare import (
    common_block,
    compare,
    omnibus,
    permutation_ps,
    power,
    score_at,
    smallest_found,
)
from experiments.report.tables import best_of_k
from fdpo.baselines.intervals import Interval

SCORES = {
    "a": {1: 1.0, 2: 2.0, 3: 3.5},
    "b": {1: 0.5, 2: 1.5, 3: 2.5},
    "c": {1: 0.0, 2: 9.0},
}


def row(kl: float, reward: float) -> SimpleNamespace:
    metrics = {"kl": Interval(kl, None, None), "reward_difference": Interval(reward, None, None)}
    return SimpleNamespace(metrics=metrics | {"distinct_2": Interval(reward, None, None)})


@pytest.mark.parametrize(
    ("kl", "score", "expected"),
    [
        (1.0, "reward_difference", 0.5),  # half of the way from (0, 0) to √4
        (4.0, "reward_difference", 1.0),
        (6.25, "reward_difference", 1.5),  # half of the way from √4 to √9
        (9.5, "reward_difference", None),
        (1.0, "distinct_2", None),  # what the reference has is not known
        (6.25, "distinct_2", 1.5),
    ],
)
def test_a_score_is_a_line_over_the_root_of_kl(kl, score, expected):
    assert score_at([row(9.0, 2.0), row(4.0, 1.0)], kl, score) == pytest.approx(expected)


def test_diversity_at_equal_reward_is_a_line_over_the_reward():
    rows = [row(9.0, 2.0), row(4.0, 1.0)]
    assert score_at(rows, 1.25, "distinct_2", "reward_difference") == pytest.approx(1.25)
    assert score_at(rows, 0.5, "distinct_2", "reward_difference") is None


def test_a_forward_kl_that_noise_puts_below_0_counts_as_0():
    near, far = row(0.5, 0.2), row(4.0, 1.0)
    near.metrics["forward_kl"] = Interval(-0.1, None, None)
    far.metrics["forward_kl"] = Interval(4.0, None, None)
    found = score_at([near, far], 1.0, "reward_difference", "forward_kl")
    assert found == pytest.approx(0.5)  # half of the way from (0, 0) to √4


def test_the_adjusted_score_is_taken_where_there_is_one():
    near, far = row(4.0, 1.0), row(9.0, 2.0)
    far.metrics["reward_difference_adjusted"] = Interval(3.0, None, None)
    assert score_at([near, far], 9.0, "reward_difference") == 3.0
    assert score_at([near, far], 4.0, "reward_difference") == 1.0


def test_a_pair_by_hand():
    first, second, third = compare(SCORES, margin=None)
    assert (first.name, first.value, first.seeds) == ("a − b", pytest.approx(2 / 3), 3)
    error = np.std([0.5, 0.5, 1.0], ddof=1) / 3**0.5
    reach = t.ppf(0.975, 2) * error  # one pair has three seeds
    assert (first.low, first.high) == pytest.approx((2 / 3 - reach, 2 / 3 + reach))
    assert second.outcome == third.outcome == "too few seeds"
    assert second.low is None


@pytest.mark.parametrize(
    ("lead", "margin", "outcome"),
    [
        (1.0, 0.1, "ahead"),
        (0.0, 0.1, "equivalent"),
        (0.0, 0.001, "undecided"),
        (0.0, None, "undecided"),
    ],
)
def test_outcomes(lead, margin, outcome):
    noise = {1: 0.001, 2: -0.001, 3: 0.002, 4: -0.002}
    scores = {
        "a": {seed: value + lead for seed, value in noise.items()},
        "b": dict.fromkeys(noise, 0.0),
    }
    (pair,) = compare(scores, margin)
    assert pair.outcome == outcome
    assert pair.leader == ("a" if outcome == "ahead" else None)


def test_a_pair_is_ahead_where_its_paired_t_test_says_so_by_bonferroni():
    rng = np.random.default_rng(0)
    table = rng.normal(size=(4, 12)) + np.array([[0.0], [0.5], [1.0], [2.0]])
    scores = {str(n): dict(enumerate(values)) for n, values in enumerate(table)}
    outcomes = set()
    for pair in compare(scores, None):
        p = ttest_rel(table[int(pair.first)], table[int(pair.second)]).pvalue
        assert (pair.outcome == "ahead") == (p * 6 < 0.05)
        outcomes.add(pair.outcome)
    assert outcomes == {"ahead", "undecided"}


def test_the_omnibus_test_sees_differences_and_no_others(monkeypatch):
    monkeypatch.setattr(comparing, "PERMUTATIONS", 199)
    rng = np.random.default_rng(0)
    alarms = np.zeros(2)
    for draw in range(400):
        level = rng.normal(size=6)
        equal = {str(n): dict(enumerate(level + rng.normal(0, 0.1, 6))) for n in range(4)}
        alarms += np.array(omnibus(equal, str(draw))[:2]) <= 0.05
    assert alarms / 400 == pytest.approx([0.05, 0.03], abs=0.03)  # of 1/32 and 2/32 it is the first
    better = equal | {"0": {seed: value + 0.5 for seed, value in equal["0"].items()}}
    found = omnibus(better, "better")
    assert found.p < 0.01
    assert found.by_signs == found.least == 2 / 2**6
    many = {name: dict(enumerate(rng.normal(size=17) + 9 * (name == "a"))) for name in "abc"}
    found = omnibus(many, "drawn")  # as 2^17 choices would be
    assert found.by_signs == found.least == 1 / 200
    assert omnibus(SCORES, "c has two seeds")[2:] == (2, 3)
    assert omnibus({"a": SCORES["a"], "c": SCORES["c"]}, "one") is None


@pytest.mark.parametrize(("seeds_of_d", "losses", "seeds"), [(3, 3, 6), (5, 4, 5)])
def test_a_loss_of_few_seeds_leaves_the_others_theirs(seeds_of_d, losses, seeds):
    """(3 − 1)·(6 − 1) is more than (4 − 1)·(3 − 1), and less than (4 − 1)·(5 − 1)."""
    scores = {name: dict.fromkeys(range(6), 0.0) for name in "abc"}
    names, table = common_block(scores | {"d": dict.fromkeys(range(seeds_of_d), 0.0)})
    assert (len(names), table.shape) == (losses, (seeds, losses))


def test_permutation_ps_are_those_of_all_exchanges_within_seeds():
    """Two losses, four seeds: of the 16 exchanges those of equal sign have the largest |t|."""
    scores = {"a": {1: 1.0, 2: 1.1, 3: 1.2, 4: 1.3}, "b": dict.fromkeys((1, 2, 3, 4), 0.0)}
    found = permutation_ps(scores, "four seeds")
    assert found == {("a", "b"): pytest.approx(2 / 16, abs=0.01)}
    assert permutation_ps({"a": scores["a"]}, "one loss") == {}


def test_the_best_of_k_is_its_mean_over_all_choices():
    """Of 1, 2, 4 and 0: pairs have bests 2, 4, 1, 4, 2, 4; of the second prompt all are 3."""
    values = [[1.0, 2.0, 4.0, 0.0], [3.0] * 4]
    expected = {1: 7 / 4, 2: 17 / 6, 4: 4.0}
    for k, first in expected.items():
        assert best_of_k(values, k) == pytest.approx((first + 3) / 2)


@pytest.mark.parametrize(
    ("pairs", "seeds", "difference"), [(1, 5, 1.2), (10, 8, 2.0), (36, 16, 1.2)]
)
def test_power_is_that_of_the_procedure(pairs, seeds, difference):
    rng = np.random.default_rng(0)
    reach = comparing.critical_value(pairs, seeds)
    draws = rng.normal(difference, 1.0, size=(20_000, seeds))
    ratio = np.abs(draws.mean(axis=1)) / (draws.std(axis=1, ddof=1) / seeds**0.5)
    assert power(difference, 1.0, pairs, seeds) == pytest.approx((ratio > reach).mean(), abs=0.015)


def test_the_smallest_difference_found_has_the_stated_power_over_sweeps():
    """Five losses, five seeds, one loss twice as noisy; each sweep states its own difference."""
    rng, found, noise = np.random.default_rng(0), [], np.array([1, 1, 1, 1, 2])
    for _ in range(600):
        stating, tested = rng.normal(size=(2, 5, 5)) * noise[:, None]
        one = {str(loss): dict(enumerate(row)) for loss, row in enumerate(stating)}
        size, seeds = smallest_found(one)
        other = {str(loss): dict(enumerate(row)) for loss, row in enumerate(tested)}
        found += [pair.low + size > 0 for pair in compare(other, None)]
    assert seeds == 5
    assert np.mean(found) == pytest.approx(comparing.POWER, abs=0.03)
