"""Hierarchical resampling and the parts of the variance, on draws whose parts are known."""

import numpy as np
import pytest

from experiments.report.analysis.nested import resampled, variance_parts


def drawn(seed: float, prompt: float, sample: float, shape=(40, 30, 4)) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    seeds, prompts, draws = shape
    values = rng.normal(0, seed, (seeds, 1, 1)) + rng.normal(0, prompt, (seeds, prompts, 1))
    return list(values + rng.normal(0, sample, shape) + 0 * np.ones((seeds, prompts, draws)))


def test_the_parts_are_what_was_drawn():
    parts = variance_parts(drawn(0.3, 0.5, 1.0))
    assert parts.seed == pytest.approx(0.3**2 / 40, rel=0.4)
    assert parts.prompt == pytest.approx(0.5**2 / (40 * 30), rel=0.2)
    assert parts.sample == pytest.approx(1.0**2 / (40 * 30 * 4), rel=0.1)


def test_the_parts_add_up_to_the_variance_of_the_mean_over_seeds():
    samples = drawn(0.3, 0.5, 1.0)
    means = [values.mean() for values in samples]
    assert variance_parts(samples).total == pytest.approx(np.var(means, ddof=1) / len(means))


def test_a_part_that_is_not_there_is_none_of_it():
    assert variance_parts(drawn(0.0, 0.0, 1.0)).seed < 1e-4


def test_a_resampled_interval_of_many_seeds_holds_the_spread_between_them():
    interval = resampled(drawn(0.3, 0.5, 1.0), np.random.default_rng(1))
    error = (0.3**2 + 0.5**2 / 30 + 1 / 120) ** 0.5 / 40**0.5
    assert (interval.high - interval.low) / 2 == pytest.approx(1.96 * error, rel=0.2)


def test_seeds_of_unequal_size_are_not_split_or_resampled():
    uneven = [np.zeros((3, 2)), np.zeros((4, 2))]
    assert variance_parts(uneven) is None
    assert resampled(uneven, np.random.default_rng(0)) is None
    assert variance_parts([np.zeros((3, 2))]) is None
