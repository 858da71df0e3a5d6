"""Sentences that follow from the intervals, on rows laid out by hand."""

from experiments.report import findings
from experiments.report.analysis import equal_kl, frontier
from experiments.report.analysis.points import curves, points
from experiments.report.text import listed
from tests.support import report_fakes


def told(*rows: dict) -> findings.Findings:
    named = {"{loss}-a{alpha:g}-b{beta:g}-s{seed}".format(**row["params"]): row for row in rows}
    sweep = report_fakes.results("by-hand", named)
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
    assert said.verdict == (
        "No loss is better than another as far as this sweep can tell: of 1 pair of losses, the"
        " largest difference in reward at equal KL is 0.010 [-0.100, 0.120] (sigmoid less fkl),"
        " within noise."
    )
    assert any("With 1 seed for every point, the spread" in text for text in said.not_shown)


def test_a_clear_difference_over_three_seeds_is_said_with_its_size():
    seeds = (1, 2, 3)
    said = told(*line("sigmoid", (0.3, 0.5), seeds), *line("fkl", (0.1, 0.3), seeds))
    text = " ".join(said.shown)
    assert said.verdict == "At equal KL sigmoid earns more reward than every other loss."
    assert "Ahead at equal KL: sigmoid above fkl by 0.200 [0.200, 0.200]." in text
    assert "2 of 4 points are on the reward-KL frontier" in text
    assert "below it by more than noise: fkl β=1 (0.200" in text
    assert any("Student's over 3 seeds" in sentence for sentence in said.not_shown)


def test_a_loss_behind_is_said_from_the_side_of_the_one_ahead():
    said = told(*line("sigmoid", (0.1, 0.3), (1, 2, 3)), *line("fkl", (0.3, 0.5), (1, 2, 3)))
    assert "Ahead at equal KL: fkl above sigmoid by 0.200 [0.200, 0.200]." in said.shown


def test_some_differences_without_a_winner_are_counted():
    seeds = (1, 2, 3)
    high = [*line("sigmoid", (0.3, 0.5), seeds), *line("jsd", (0.3, 0.5), seeds)]
    said = told(*high, *line("fkl", (0.1, 0.3), seeds))
    assert said.verdict == (
        "No loss beats all others: at equal KL 2 of 3 pairs of losses differ in reward by more"
        " than noise."
    )


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
