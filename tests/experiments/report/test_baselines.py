"""What the reference reaches without training, beside the losses."""

import copy

import pytest

from experiments.report.analysis.baselines import baseline_points, best_at
from experiments.report.analysis.points import curves, points
from experiments.report.analysis.verdict import reference_spread
from tests.support import report_fakes


def test_baselines_are_means_over_seeds_with_the_bound_as_the_kl_of_best_of_n():
    sweep = report_fakes.as_read(report_fakes.with_samples(report_fakes.controlled()))
    cold, best = baseline_points(sweep)
    assert (cold.label, cold.kl.value, cold.kl_is_bound) == ("temperature 0.7", 1.1, False)
    assert "distinct_2" not in cold.metrics
    assert (best.label, best.kl.value, best.kl_is_bound) == ("best of 4", 0.636, True)
    assert best.metrics["reward_difference"].value == pytest.approx(0.3)
    assert len(best.metrics["reward_difference"].values) == 3


def test_a_seed_counts_once_though_two_machines_made_its_rows():
    content = report_fakes.with_samples(report_fakes.controlled())
    before = report_fakes.as_read(content)
    last = list(content["rows"].values())[-1]
    other = copy.deepcopy(content["references"][last["reference"]])
    other["judge"][0][0] += 1e-7  # as another processor has it
    content["references"]["other"] = other
    last["reference"] = "other"
    sweep = report_fakes.as_read(content)
    assert len(sweep.references) == 4
    assert baseline_points(sweep) == baseline_points(before)
    assert reference_spread(sweep, "judge") == reference_spread(before, "judge")


def test_a_baseline_that_a_seed_lacks_is_left_out():
    content = report_fakes.with_samples(report_fakes.controlled())
    first = next(iter(content["references"].values()))
    first["baselines"].pop()
    assert [one.label for one in baseline_points(report_fakes.as_read(content))] == [
        "temperature 0.7"
    ]


def test_the_best_loss_at_a_kl_is_that_of_most_interpolated_reward():
    rows = {
        f"{loss}-{beta}": report_fakes.row(loss, beta, 1, kl=kl, reward=scale * kl)
        for loss, scale in (("sigmoid", 0.1), ("jsd", 0.2))
        for beta, kl in ((1.0, 1.0), (0.1, 2.0))
    }
    found = curves(points(report_fakes.results("by-hand", rows)))
    name, reward = best_at(found, 1.5)
    assert (name, reward.value) == ("jsd", pytest.approx(0.3))
    assert best_at(found, 2.5) is None
