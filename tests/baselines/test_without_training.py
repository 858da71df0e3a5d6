"""Best-of-n and temperatures of the reference: order statistics, bounds and what is written."""

from itertools import combinations
from math import log

import numpy as np
import pytest

from fdpo.baselines.without_training import (
    PromptScores,
    best_of_n,
    best_of_n_kl_bound,
    best_of_row,
    temperature_row,
)


def test_chances_by_hand():
    """Of three samples, two of the three pairs hold the best; the worst wins no pair."""
    (row,) = best_of_n(np.array([[5.0, -1.0, 2.0]]), 2)
    assert row.tolist() == pytest.approx([2 / 3, 0, 1 / 3])


@pytest.mark.parametrize("n", [1, 2, 3, 5, 7])
def test_best_of_n_is_the_mean_over_all_subsets(n):
    rng = np.random.default_rng(0)
    rewards, judge = rng.normal(size=(3, 7)), rng.normal(size=(3, 7))
    chances = best_of_n(rewards, n)
    for row, values, judged in zip(chances, rewards, judge, strict=True):
        best = [max(subset, key=values.__getitem__) for subset in combinations(range(7), n)]
        assert row @ values == pytest.approx(values[best].mean())
        assert row @ judged == pytest.approx(judged[best].mean())


def test_equal_rewards_share_their_chances():
    (row,) = best_of_n(np.array([[1.0, 0.0, 1.0, 0.0]]), 2)
    assert row.tolist() == pytest.approx([5 / 12, 1 / 12, 5 / 12, 1 / 12])
    (row,) = best_of_n(np.array([[3.0, 3.0, 3.0]]), 2)
    assert row.tolist() == pytest.approx([1 / 3] * 3)


@pytest.mark.parametrize("n", [0, 4])
def test_n_beyond_the_samples_is_refused(n):
    with pytest.raises(ValueError, match=f"n = {n}: must be from 1 to the 3 samples"):
        best_of_n(np.zeros((2, 3)), n)


def test_the_bound_of_kl():
    assert best_of_n_kl_bound(1) == 0
    assert best_of_n_kl_bound(2) == pytest.approx(log(2) - 0.5)


def scores(prompts: int, samples: int, seed: int = 0) -> PromptScores:
    rng = np.random.default_rng(seed)
    return PromptScores(rng.normal(size=(prompts, samples)), rng.normal(size=(prompts, samples)))


def test_the_entry_of_best_of_n():
    plain = scores(6, 4)
    entry = best_of_row(4, plain)
    gain = (plain.reward.max(axis=1) - plain.reward.mean(axis=1)).mean()
    assert entry["metrics"]["reward_difference"]["value"] == pytest.approx(gain)
    of_best = plain.judge[np.arange(6), plain.reward.argmax(axis=1)].mean()
    assert entry["metrics"]["judge"]["value"] == pytest.approx(of_best)
    assert (entry["n"], entry["samples"], entry["kl_bound"]) == (4, 4, best_of_n_kl_bound(4))
    assert entry == best_of_row(4, plain)


@pytest.mark.parametrize(("budget", "distinct"), [(8, 3 / 8), (9, None)])
def test_the_entry_of_a_temperature(budget, distinct):
    """Four completions of 3 tokens, in them 8 bigrams of 3 kinds."""
    ids = [[[1, 2, 1], [1, 2, 1]], [[1, 2, 3], [1, 2, 3]]]
    kl, entropy = np.array([[1.0, 2.0], [3.0, 6.0]]), np.array([[3.0, 6.0], [9.0, 12.0]])
    tempered, plain = scores(2, 2, seed=1), scores(2, 4)
    entry = temperature_row(0.7, tempered, plain, kl, entropy, ids, budget)
    metrics = entry["metrics"]
    assert metrics["kl"]["value"] == 3.0
    assert metrics["entropy"]["value"] == pytest.approx((9 / 6 + 21 / 6) / 2)
    assert (metrics["distinct_2"] and metrics["distinct_2"]["value"]) == distinct
    difference = tempered.reward.mean() - plain.reward.mean()
    assert metrics["reward_difference"]["value"] == pytest.approx(difference)
    assert metrics["kl"]["low"] <= 3.0 <= metrics["kl"]["high"]
