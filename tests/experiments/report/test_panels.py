"""Several rows' curves and bins as one, by hand."""

import pytest

from experiments.report.charts.panels import mean_curve, pooled_bins
from experiments.sweep.results import CalibrationBin


def bin_of(confidence: float, accuracy: float, count: int) -> CalibrationBin:
    return CalibrationBin(confidence=confidence, accuracy=accuracy, count=count)


def test_bins_of_several_rows_weigh_by_their_pairs():
    first = [
        CalibrationBin(confidence=0.52, accuracy=0.5, count=10),
        CalibrationBin(confidence=0.7, accuracy=1, count=1),
    ]
    second = [CalibrationBin(confidence=0.54, accuracy=0.8, count=30)]
    low, high = pooled_bins([first, second])
    assert (low.confidence, low.accuracy, low.count) == pytest.approx((0.535, 0.725, 40))
    assert high == bin_of(confidence=0.7, accuracy=1.0, count=1)


def test_a_curve_is_the_mean_at_each_step_of_the_numbers_there():
    rows = [[(1, 0.5), (2, 1.0)], [(1, 0.25), (2, None)], [(3, None)]]
    assert mean_curve(rows) == [(1, 0.375), (2, 1.0)]
