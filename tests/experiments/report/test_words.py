"""Sentences that follow from the intervals, on rows laid out by hand."""

from experiments.report import findings
from experiments.report.analysis import equal_kl, frontier
from experiments.report.analysis.points import curves, points
from experiments.report.analysis.sweep_results import Sweep
from tests.support import report_fakes


def told(*rows: dict) -> findings.Findings:
    named = {"{loss}-a{alpha:g}-b{beta:g}-s{seed}".format(**row["params"]): row for row in rows}
    sweep = Sweep.model_validate_json(report_fakes.as_json(report_fakes.sweep("by-hand", named)))
    found = points(sweep)
    return findings.findings(
        sweep, found, frontier.standings(found), equal_kl.compare(curves(found))
    )


def line(loss: str, rewards: tuple[float, float], seeds=(1,), **more) -> list[dict]:
    """Two β at KL 1 and 2, the same in each seed but for a thousandth."""
    return [
        report_fakes.row(loss, beta, seed, kl=kl, reward=reward + seed / 1000, **more)
        for seed in seeds
        for beta, kl, reward in ((1, 1.0, rewards[0]), (0.1, 2.0, rewards[1]))
    ]


def test_one_seed_is_said_to_show_no_spread():
    said = told(*line("sigmoid", (0.3, 0.5)), *line("fkl", (0.29, 0.49)))
    assert any("With 1 seed for every point, the spread" in text for text in said.not_shown)
    assert any("0 of 1 comparable pairs" in text and "within noise" in text for text in said.shown)
    assert "No loss is ahead of every other by more than noise." in said.shown


def test_a_clear_difference_over_three_seeds_is_said_with_its_size():
    seeds = (1, 2, 3)
    said = told(*line("sigmoid", (0.3, 0.5), seeds), *line("fkl", (0.1, 0.3), seeds))
    text = " ".join(said.shown)
    assert "sigmoid above fkl by 0.200 [0.200, 0.200] (KL 1.000 to 2.000)" in text
    assert "sigmoid is ahead of every other loss by more than noise." in said.shown
    assert "frontier" in said.shown[1]
    assert "are 2 of 4 points: sigmoid β=1 (3 of 3 seeds), β=0.1 (3 of 3 seeds)." in said.shown[1]
    assert "Below the frontier by more than noise: fkl β=1 (0.200" in text
    assert any("Student's over 3 seeds" in sentence for sentence in said.not_shown)


def test_frontiers_of_diversity_are_told():
    rows = [*line("sigmoid", (0.3, 0.5)), report_fakes.row("fkl", 1, 1, kl=1.5, reward=0.2)]
    said = told(*rows)  # entropy and distinct-2 fall with KL
    (sentence,) = (text for text in said.shown if "predictive entropy" in text)
    assert "entropy as sigmoid β=1 and sigmoid β=0.1; nor" in sentence
    assert sentence.endswith("distinct-2 as sigmoid β=1 and sigmoid β=0.1.")


def test_one_loss_alone_is_compared_with_nothing():
    said = told(*line("sigmoid", (0.3, 0.5)))
    assert any("one loss alone" in text for text in said.shown)


def test_the_judge_confirms_doubts_or_contradicts_a_rise():
    said = told(
        report_fakes.row("sigmoid", 1, 1, reward=0.5, judge=0.2),
        report_fakes.row("sigmoid", 0.1, 1, reward=0.5, judge=0.01),
        report_fakes.row("sigmoid", 0.01, 1, reward=0.5, judge=-0.2),
        report_fakes.row("sigmoid", 10, 1, reward=0.05, judge=-0.2),  # no rise to confirm
    )
    text = " ".join(said.shown)
    assert "the judge rises too in 1 of 3 points" in text
    assert "does not by more than noise in sigmoid β=0.1:" in text
    assert "falls by more than noise in sigmoid β=0.01 (-0.200 [-0.260, -0.140])" in text


def test_nothing_is_claimed_where_nothing_rises():
    said = told(*line("sigmoid", (0.01, 0.02)))
    assert "in 0 of 2 points" in said.shown[0]
    assert any("nothing for the judge to confirm" in text for text in said.shown)


def test_different_learning_rates_are_told():
    said = told(*line("sigmoid", (0.3, 0.5)), *line("fkl", (0.3, 0.5), lr=0.0002))
    assert any("sigmoid 0.002; fkl 0.0002" in text for text in said.not_shown)
    equal = told(*line("sigmoid", (0.3, 0.5)), *line("fkl", (0.3, 0.5)))
    assert not any("Learning rates" in text for text in equal.not_shown)


def test_losses_that_never_meet_are_not_compared():
    far = [report_fakes.row("fkl", beta, 1, kl=kl) for beta, kl in ((1, 0.1), (0.1, 0.2))]
    said = told(*line("sigmoid", (0.3, 0.5)), *far)
    assert any("none can be compared at equal KL" in text for text in said.shown)
    assert not any("comparable pairs" in text for text in said.shown)


def test_alphas_are_losses_of_their_own_and_other_losses_ignore_alpha():
    rows = [report_fakes.row("alpha", 1, 1, alpha=0.3), report_fakes.row("alpha", 1, 1, alpha=0.7)]
    rows += [report_fakes.row("sigmoid", 1, seed, alpha=0.1 * seed) for seed in (1, 2)]
    named = {str(place): row for place, row in enumerate(rows)}
    sweep = Sweep.model_validate_json(report_fakes.as_json(report_fakes.sweep("by-hand", named)))
    assert [(point.label, point.seeds) for point in points(sweep)] == [
        ("sigmoid β=1", (1, 2)),
        ("alpha 0.3 β=1", (1,)),
        ("alpha 0.7 β=1", (1,)),
    ]
