"""The verdict on a few sweeps from a known model; the command draws 1,000 of each."""

import sys

import numpy as np
import pytest

from experiments.report import simulation
from experiments.report.analysis.verdict import ERROR, MARGIN
from experiments.report.simulation import Noise, coverage, tally

DRAWS = 60
# What chance allows on top of a share of 5 %: two standard errors of 60 draws.
ALLOWED = ERROR + 2 * (ERROR * (1 - ERROR) / DRAWS) ** 0.5


def test_equal_losses_are_rarely_called_ahead():
    result = tally(DRAWS, (0.0,) * 5, 3, Noise(), np.random.default_rng(0))
    assert result.any_false_ahead <= ALLOWED
    assert np.isnan(result.found)


def test_a_difference_of_a_fifth_is_found_and_never_from_the_wrong_side():
    result = tally(DRAWS, (0.2, 0, 0, 0, 0), 5, Noise(), np.random.default_rng(1))
    assert result.any_false_ahead <= ALLOWED
    assert result.found > 0.5
    assert result.unequal_equivalent <= ALLOWED


def test_losses_apart_by_the_margin_are_rarely_called_equivalent():
    result = tally(DRAWS, (MARGIN, 0.0), 5, Noise(seed=0.0, prompt=0.1), np.random.default_rng(2))
    assert result.unequal_equivalent <= ALLOWED


def test_resampled_intervals_of_three_seeds_are_too_narrow_and_students_is_not():
    held = coverage(DRAWS, 3, Noise(seed=0.2), np.random.default_rng(3))
    assert held["percentiles of seeds"] < 0.9
    assert held["Student over seeds"] >= 0.95 - 2 * (0.05 * 0.95 / DRAWS) ** 0.5


def test_a_number_of_draws_is_at_least_one(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["simulation", "--draws=0"])
    with pytest.raises(SystemExit) as end:
        simulation.main()
    assert end.value.code == 2
    assert capsys.readouterr().err.endswith("error: --draws 0: must be at least 1\n")
