"""Sentences that follow from the intervals, on rows laid out by hand."""

import numpy as np
import pytest

from experiments.report import findings
from experiments.report.analysis.estimates import Estimate
from experiments.report.analysis.evidence import gather
from experiments.report.analysis.matched import CurvePair
from experiments.report.analysis.points import points
from experiments.report.analysis.verdict import PairVerdict
from experiments.report.text import LONGEST, listed
from experiments.sweep.results import SweepResults
from tests.support import report_fakes


def told(*rows: dict) -> findings.Findings:
    named = {"{loss}-a{alpha:g}-b{beta:g}-s{seed}".format(**row["params"]): row for row in rows}
    return said_of(report_fakes.results("by-hand", named))


def said_of(sweep: SweepResults) -> findings.Findings:
    return findings.findings(gather(sweep))


def line(loss: str, rewards: tuple[float, float], seeds=(1,), **more) -> list[dict]:
    """Two β at KL 1 and 2, the same in each seed but for a thousandth."""
    return [
        report_fakes.row(loss, beta, seed, kl=kl, reward=reward + seed / 1000, **more)
        for seed in seeds
        for beta, kl, reward in ((1, 1.0, rewards[0]), (0.1, 2.0, rewards[1]))
    ]


def test_one_seed_is_said_to_be_too_few():
    said = told(*line("sigmoid", (0.3, 0.5)), *line("fkl", (0.29, 0.49)))
    assert said.verdict == (
        "Too few seeds to say which loss is better, three at least are needed: of 1 pair of losses,"
        " the largest difference in reward at equal KL is 0.010 [-0.100, 0.120] (sigmoid less fkl),"
        " over prompts alone."
    )
    assert any("With 1 seed for every point, the spread" in text for text in said.not_shown)
    assert not any("8 times in 10" in text for text in said.not_shown)


SEEDS = (1, 2, 3)


def test_a_clear_difference_over_three_seeds_is_said_with_its_size():
    said = told(*line("sigmoid", (0.3, 0.5), SEEDS), *line("fkl", (0.1, 0.3), SEEDS))
    text = " ".join(said.shown)
    assert said.verdict == (
        "At equal KL sigmoid earns more reward than fkl, by 0.200. The judge, which no loss was"
        " trained on, does not see the same order."
    )
    assert "Ahead at equal KL: sigmoid above fkl by 0.200 [0.200, 0.200]." in text
    assert "2 of 4 points are on the reward-KL frontier" in text
    assert "below it by more than noise: fkl β=1 (0.200" in text
    assert any("Student's over 3 seeds" in sentence for sentence in said.not_shown)


def test_a_loss_behind_is_said_from_the_side_of_the_one_ahead():
    said = told(*line("sigmoid", (0.1, 0.3), SEEDS), *line("fkl", (0.3, 0.5), SEEDS))
    assert "Ahead at equal KL: fkl above sigmoid by 0.200 [0.200, 0.200]." in said.shown


def test_losses_ahead_of_the_same_ones_are_said_together():
    high = [*line("sigmoid", (0.3, 0.5), SEEDS), *line("jsd", (0.3, 0.5), SEEDS)]
    low = [*line("fkl", (0.1, 0.3), SEEDS), *line("hinge", (0.15, 0.35), SEEDS, judge=0.0)]
    said = told(*high, *low)
    assert said.verdict == (
        "At equal KL sigmoid and jsd earn more reward than hinge, by 0.150; sigmoid, hinge and jsd"
        " earn more reward than fkl, by 0.050 to 0.200. 1 of 6 pairs of losses stays undecided. The"
        " judge, which no loss was trained on, sees the same order in 2 of these 5 pairs, in 2"
        " by more than noise."
    )


def test_one_loss_ahead_of_all_others_is_said_so():
    rows = [line(loss, (0.1, 0.3), SEEDS) for loss in ("hinge", "fkl")]
    said = told(*line("sigmoid", (0.3, 0.5), SEEDS), *rows[0], *rows[1])
    assert said.verdict.startswith(
        "At equal KL sigmoid earns more reward than every other loss, by 0.200."
    )


def noisy(seed_noise: float, fkl: float) -> SweepResults:
    """Three losses in five seeds, two of them equal but for noise, with samples."""
    rng = np.random.default_rng(3)
    rows = [
        row
        for loss, level in (("sigmoid", 0.3), ("jsd", 0.3), ("fkl", fkl))
        for seed in range(1, 6)
        for row in line(loss, tuple(level + rng.normal(0, seed_noise) + np.zeros(2)), (seed,))
    ]
    named = {"{loss}-b{beta:g}-s{seed}".format(**row["params"]): row for row in rows}
    return report_fakes.as_read(report_fakes.with_samples(report_fakes.sweep("by-hand", named)))


def test_equivalent_losses_are_said_with_the_margin():
    said = said_of(noisy(0.01, 0.1))
    assert "Equivalent, within ±0.0" in said.verdict
    assert ": sigmoid and jsd." in said.verdict
    assert "earn more reward than fkl" in said.verdict
    power = said.not_shown[0]
    assert "8 times in 10" in power
    assert "0.1 standard deviations" in power


def test_a_difference_that_many_pairs_make_likely_is_not_called_noise_beside_an_interval_above_0():
    def pair(low: float, high: float, p: float | None = 0.21) -> PairVerdict:
        value = (low + high) / 2
        estimate = Estimate(value, low, high, "seeds", (value,) * 3)
        return PairVerdict(CurvePair("hinge", "ipo", None), "undecided", estimate, p)

    of_two_seeds = pair(0.2, 0.4, p=None)  # undecided, but no test counts it
    said = findings.verdict([pair(0.031, 0.189), pair(-0.1, 0.1), of_two_seeds], [], 0.09)
    assert "0.110 [0.031, 0.189] (hinge less ipo), which one of 2 pairs may show by chance" in said
    assert "(p = 0.21 by Holm's correction)." in said
    assert "(hinge less ipo), within noise." in findings.verdict([pair(-0.01, 0.2)], [], 0.09)


def test_undecided_losses_are_said_with_the_seeds_that_would_decide():
    said = said_of(noisy(0.2, 0.1))
    assert said.verdict.startswith("No loss is ahead of another at equal KL")
    assert "All 3 pairs of losses stay undecided." in said.verdict
    assert any(text.startswith("Of the undecided, ") for text in said.not_shown)
    assert any("% from seeds" in text for text in said.not_shown)


@pytest.mark.parametrize("content", [report_fakes.controlled(), report_fakes.seed_table()])
def test_no_list_of_a_whole_sweep_is_longer_than_ten(content):
    for sweep in (content, report_fakes.with_samples(content)):
        said = said_of(report_fakes.as_read(sweep))
        assert len(said.shown) <= LONGEST
        assert len(said.not_shown) <= LONGEST
        assert all(text.endswith(".") for text in (*said.shown, *said.not_shown, said.verdict))


def test_baselines_displacement_and_published_orderings_are_said():
    text = " ".join(said_of(report_fakes.as_read(with_samples_of_both())).shown)
    assert "the best of 4 samples of the reference has 0.300" in text
    assert "Displacement: on test pairs the chosen completions become less likely" in text
    table = report_fakes.with_samples(report_fakes.seed_table())
    text = " ".join(said_of(report_fakes.as_read(table)).shown)
    assert "pairs of rows that the published table orders by reward" in text


def with_samples_of_both() -> dict:
    return report_fakes.with_samples(report_fakes.controlled())


def test_a_loss_with_fewer_seeds_is_compared_beside_the_others():
    content = report_fakes.with_samples(report_fakes.controlled(seeds=5))
    for name in [name for name in content["rows"] if name[:5] == "hinge" and name[-1] in "2345"]:
        del content["rows"][name]
    said = said_of(report_fakes.as_read(content))
    assert "sigmoid" in said.verdict
    assert any("With 1 seed for some points" in text for text in said.not_shown)


def test_one_loss_alone_is_compared_with_nothing():
    assert told(*line("sigmoid", (0.3, 0.5))).verdict.startswith("Only one loss was run")


def test_the_judge_confirms_doubts_or_contradicts_a_rise():
    said = told(
        report_fakes.row("sigmoid", 1, 1, reward=0.5, judge=0.2),
        report_fakes.row("sigmoid", 0.1, 1, reward=0.5, judge=0.01),
        report_fakes.row("sigmoid", 0.01, 1, reward=0.5, judge=-0.2),
        report_fakes.row("sigmoid", 10, 1, reward=0.05, judge=-0.2),  # no rise to confirm
    )
    text = " ".join(said.shown)
    assert "confirms 1 of these 3 rises by more than noise" in text
    assert "the reward is gamed, in sigmoid β=0.01 (-0.200 [-0.260, -0.140])." in text


def test_nothing_is_claimed_where_nothing_rises():
    said = told(*line("sigmoid", (0.01, 0.02)))
    assert "in 0 of 2 points" in said.shown[0]
    assert any("nothing for the judge to confirm" in text for text in said.shown)


def test_no_list_is_longer_than_ten():
    assert listed("abcdefghij") == "a, b, c, d, e, f, g, h, i and j"
    assert listed("abcdefghijk") == "a, b, c, d, e, f, g, h, i and 2 more"


def test_different_learning_rates_are_told():
    said = told(*line("sigmoid", (0.3, 0.5)), *line("fkl", (0.3, 0.5), lr=0.0002))
    assert any("sigmoid 0.002; fkl 0.0002" in text for text in said.not_shown)
    equal = told(*line("sigmoid", (0.3, 0.5)), *line("fkl", (0.3, 0.5)))
    assert not any("Learning rates" in text for text in equal.not_shown)


def test_losses_that_never_meet_are_not_compared():
    far = [report_fakes.row("fkl", beta, 1, kl=kl) for beta, kl in ((1, 0.1), (0.1, 0.2))]
    said = told(*line("sigmoid", (0.3, 0.5)), *far)
    assert said.verdict.startswith("The losses cannot be compared")
    assert not any("more than noise in reward" in text for text in said.shown)


def test_alphas_are_losses_of_their_own_and_other_losses_ignore_alpha():
    rows = [report_fakes.row("alpha", 1, 1, alpha=0.3), report_fakes.row("alpha", 1, 1, alpha=0.7)]
    rows += [report_fakes.row("sigmoid", 1, seed, alpha=0.1 * seed) for seed in (1, 2)]
    named = {str(number): row for number, row in enumerate(rows)}
    sweep = report_fakes.results("by-hand", named)
    assert [(point.label, point.seeds) for point in points(sweep)] == [
        ("sigmoid β=1", (1, 2)),
        ("alpha 0.3 β=1", (1,)),
        ("alpha 0.7 β=1", (1,)),
    ]
