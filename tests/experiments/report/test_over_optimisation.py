"""Reward and judge along KL: where one turns down and the other does not."""

import pytest

from experiments.report.analysis.over_optimisation import ceiling_shares, over_optimisation
from experiments.report.analysis.points import curves, points
from tests.support import report_fakes

KLS = (0.25, 1.0, 2.25, 4.0, 9.0)


def along(judge_bend: float, reward_bend: float = 0.0, seeds=(1, 2, 3)):
    """Reward and judge are d·(1 − bend·d), d = √KL, with a slope that differs between seeds."""
    rows = {}
    for seed in seeds:
        for place, kl in enumerate(KLS):
            root, slope = kl**0.5, 1 + seed / 100
            rows[f"{place}-s{seed}"] = report_fakes.row(
                "sigmoid",
                1.0 / (place + 1),
                seed,
                kl=kl,
                reward=root * (slope - reward_bend * root),
                judge=root * (slope - judge_bend * (1 + seed / 1000) * root),
            )
    return over_optimisation(curves(points(report_fakes.results("by-hand", rows))))


def test_the_judges_peak_is_where_its_parabola_has_it():
    (curve,) = along(judge_bend=0.25)
    assert curve.judge.slope.value == pytest.approx(1.02)
    assert curve.judge.bend.value == pytest.approx(0.25 * 1.002)
    assert curve.parts_at == pytest.approx((1.02 / (2 * 0.2505)) ** 2)
    assert curve.peak_reached(curve.reward) is None
    assert curve.last_step_judge.value == pytest.approx(1.02 - 0.2505 * 5)


def test_they_do_not_part_where_both_turn_or_the_judge_turns_beyond_what_was_reached():
    (both,) = along(judge_bend=0.25, reward_bend=0.3)
    assert both.parts_at is None
    (late,) = along(judge_bend=0.05)
    assert late.judge.peak > 9
    assert late.parts_at is None


def test_fewer_than_three_seeds_say_nothing_for_sure():
    (curve,) = along(judge_bend=0.25, seeds=(1,))
    assert curve.judge.peak is not None
    assert curve.parts_at is None


def test_two_points_are_no_curve():
    rows = {
        str(beta): report_fakes.row("sigmoid", beta, 1, kl=kl)
        for beta, kl in ((1.0, 1.0), (0.1, 2.0))
    }
    assert over_optimisation(curves(points(report_fakes.results("two", rows)))) == []


def test_the_share_at_the_highest_reward_tells_of_a_ceiling():
    content = report_fakes.with_samples(report_fakes.controlled())
    found = curves(points(report_fakes.as_read(content)))
    assert sum(share > 0 for share in ceiling_shares(found).values()) == 1
    for row in content["rows"].values():
        row["heldout"]["reward"] = [[2.0, 2.0, 1.0]] * 5
    capped = curves(points(report_fakes.as_read(content)))
    assert list(ceiling_shares(capped).values()) == pytest.approx([2 / 3] * 5)
    assert ceiling_shares(curves(points(report_fakes.as_read(report_fakes.controlled())))) == {}
