"""Preference metrics: values by hand, σ of the loss's own margin, and ties."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fdpo.evaluation.metrics.preferences import (
    accuracy,
    calibration_error,
    margin,
    reliability_curve,
)


def log_odds(*probabilities):
    return np.log(np.array(probabilities) / (1 - np.array(probabilities)))


REWARDS = st.lists(st.floats(-2, 2), min_size=6, max_size=6).map(np.array)


def test_accuracy_and_margin_by_hand():
    chosen, rejected = np.array([1.0, 0.0, 2.0, -1.0]), np.array([0.0, 1.0, 2.0, -5.0])
    assert accuracy(chosen, rejected) == (1 + 0 + 0.5 + 1) / 4
    assert margin(chosen, rejected) == (1 - 1 + 0 + 4) / 4


def test_calibration_error_by_hand():
    # Confidences 0.91 (right), 0.92 (wrong: p = 0.08), 0.62 (right), 0.61 (wrong), bins of 0.05:
    # [0.9, 0.95): |1/2 - 0.915|; [0.6, 0.65): |1/2 - 0.615|, two pairs of four each.
    margins = log_odds(0.91, 0.08, 0.62, 0.39)
    expected = 0.5 * 0.415 + 0.5 * 0.115
    assert calibration_error(margins, np.zeros(4)) == pytest.approx(expected, abs=1e-9)


def test_bins_are_equal_parts_of_one_half_to_one():
    margins = log_odds(0.61, 0.34)  # confidences 0.61 (right) and 0.66 (wrong)
    apart = (0.39 + 0.66) / 2
    assert calibration_error(margins, np.zeros(2), bins=10) == pytest.approx(apart)
    together = abs(0.5 - 0.635)
    assert calibration_error(margins, np.zeros(2), bins=2) == pytest.approx(together)


def test_a_calibrated_policy_has_no_error_though_it_is_often_unsure():
    """Given p and targets that are all 1, torchmetrics alone would say 1 - 0.75 = 0.25 here."""
    margins = log_odds(0.75, 0.75, 0.75, 0.25)
    assert calibration_error(margins, np.zeros(4)) == pytest.approx(0, abs=1e-9)


def test_overconfidence_is_the_gap_between_confidence_and_accuracy():
    margins = np.array([40.0, 40.0, 40.0, -40.0])  # always certain, right 3 times in 4
    assert calibration_error(margins, np.zeros(4)) == pytest.approx(0.25, abs=1e-9)


def test_ties_are_half_right_at_confidence_one_half():
    equal = np.zeros(3)
    assert accuracy(equal, equal) == 0.5
    assert calibration_error(equal, equal) == pytest.approx(0, abs=1e-12)
    assert reliability_curve(equal, equal) == [{"confidence": 0.5, "accuracy": 0.5, "count": 3}]


def test_reliability_curve_by_hand():
    margins = log_odds(0.91, 0.08, 0.62, 0.39)
    rows = reliability_curve(margins, np.zeros(4))
    assert [row["confidence"] for row in rows] == pytest.approx([0.615, 0.915])
    assert [row["accuracy"] for row in rows] == [0.5, 0.5]
    assert [row["count"] for row in rows] == [2, 2]


@given(REWARDS, REWARDS, st.integers(1, 15))
def test_the_curve_and_torchmetrics_tell_the_same_error(chosen, rejected, bins):
    rows = reliability_curve(chosen, rejected, bins)
    assert sum(row["count"] for row in rows) == 6
    assert len(rows) <= bins
    assert all(0.5 <= row["confidence"] <= 1 for row in rows)
    error = sum(row["count"] / 6 * abs(row["accuracy"] - row["confidence"]) for row in rows)
    assert calibration_error(chosen, rejected, bins) == pytest.approx(error, abs=1e-9)


def test_certainty_shares_the_last_bin():
    margins = np.append(log_odds(0.97), 800.0)  # σ(800) is 1 in floating point
    (row,) = reliability_curve(margins, np.zeros(2))
    assert row["count"] == 2
    assert row["confidence"] == pytest.approx(0.985)


@pytest.mark.parametrize(
    ("chosen", "rejected"),
    [([], []), ([1.0, 2.0], [1.0]), ([[1.0]], [[0.0]]), ([np.nan], [0.0]), ([np.inf], [np.inf])],
)
@pytest.mark.parametrize("metric", [accuracy, margin, calibration_error, reliability_curve])
def test_wrong_rewards_are_refused(metric, chosen, rejected):
    with pytest.raises(ValueError, match=r"equal vectors|NaN or infinite"):
        metric(np.array(chosen), np.array(rejected))
