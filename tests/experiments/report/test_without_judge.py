"""The report of a sweep whose study has no judge."""

from typing import Any

from experiments.report.analysis.points import curves, points
from experiments.report.charts.styles import styles
from experiments.report.contents import contents
from experiments.report.markdown import markdown
from experiments.report.tables import local
from tests.support import report_fakes


def unjudged(value: Any) -> Any:
    """The same without any score of a judge."""
    if isinstance(value, dict):
        return {key: unjudged(item) for key, item in value.items() if not key.startswith("judge")}
    return [unjudged(item) for item in value] if isinstance(value, list) else value


def test_the_report_has_all_but_what_a_judge_says():
    rows = {
        f"{loss}-{beta}-{seed}": report_fakes.row(loss, beta, seed, kl=1 / beta, reward=reward)
        for loss, reward in (("sigmoid", 0.5), ("jsd", 0.4))
        for beta in (0.1, 0.3, 1)
        for seed in (1, 2, 3)
    }
    judged = report_fakes.with_samples(report_fakes.sweep("tiny", rows))
    sweep = report_fakes.as_read(unjudged(judged))
    made = contents(sweep, styles(curves(points(sweep))))

    assert made.judge == []
    (over_seeds,) = [table for table in made.comparison if table.title == "Points over seeds"]
    assert "reward difference" in over_seeds.columns
    assert "judge difference" not in over_seeds.columns
    assert {len(row) for row in over_seeds.rows} == {len(over_seeds.columns)}
    assert "judge" not in made.findings.verdict
    assert "jsd" in markdown([made], local([]))
