"""The report of the committed rows: one source for Markdown, figures and page."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import vl_convert
from scipy.stats import t

from experiments.report import __main__ as report
from experiments.report.compare import scores_at
from experiments.report.evidence import PRIMARY, control_variate, gather
from experiments.report.findings import verdict
from experiments.report.pages import escape, markdown, page, part
from experiments.report.points import OBJECTIVE, optimised
from experiments.sweep.results import load_rows
from fdpo.baselines.intervals import Interval
from tests.experiments import browser

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def evidence():
    return gather(load_rows("controlled", ROOT / "experiments/results"))


@pytest.fixture(scope="module")
def parts(evidence):
    return [part(evidence)]


def test_the_committed_report_is_that_of_the_committed_rows(parts):
    committed = (ROOT / "results/report/controlled.md").read_text(encoding="utf-8")
    assert committed == markdown(parts[0]), "run `make report`"


def test_every_pair_of_the_table_is_in_the_verdict_or_counted(evidence, parts):
    level = evidence.primary
    tested = [pair for pair in level.differences if pair.low is not None]
    (undecided, of) = map(int, re.search(r"(\d+) of (\d+) pairs stay", parts[0].verdict).groups())
    assert of == len(tested)
    assert undecided == sum(pair.outcome == "undecided" for pair in tested)
    for pair in tested:
        if pair.outcome == "equivalent":
            assert f"{pair.first}–{pair.second}" in parts[0].verdict


def test_a_verdict_of_an_unfinished_sweep_is_interim(evidence):
    assert evidence.missing == 0
    said = verdict(replace(evidence, missing=52))
    assert said.startswith("Interim: 52 of 200 rows are not run yet. At a KL of 2,")


def test_rows_that_did_not_optimise_are_in_no_comparison(evidence):
    curves = {name: list(points) for name, points in evidence.curves.items()}
    point = curves["sigmoid"][-1]
    row = point.rows[1]
    assert optimised(row) is None
    failed = row.model_copy(update={"curves": {OBJECTIVE: [(0, 0.7), (16, 0.8)]}})
    assert optimised(failed) is False
    measured = {
        "loss_reference": Interval(0.7, None, None),
        "loss_capped": Interval(0.6, None, None),
    }
    assert optimised(failed.model_copy(update={"metrics": row.metrics | measured})) is True
    before = scores_at({"sigmoid": curves["sigmoid"]}, 4.0, "reward_difference")
    point.rows[1] = failed
    try:
        after = scores_at({"sigmoid": curves["sigmoid"]}, 4.0, "reward_difference")
    finally:
        point.rows[1] = row
    assert before["sigmoid"].keys() - after["sigmoid"].keys() <= {1}
    assert before != after


def test_runs_that_were_stopped_early_are_a_curve_of_their_own():
    found = gather(load_rows("along", ROOT / "experiments/results")).curves
    assert list(found) == ["sigmoid", "sigmoid stopped early", "fkl", "fkl stopped early"]
    for name, points in found.items():
        stopped = {
            "train.stop_after" in row.params.model_extra for x in points for row in x.rows.values()
        }
        assert stopped == {name.endswith("early")}
    assert len({point.label for points in found.values() for point in points}) == 8


def test_the_control_variate_is_said_with_its_standard_errors(evidence):
    sweep = load_rows("fair", ROOT / "experiments/results")
    found, (name, row) = control_variate(sweep), next(iter(sweep.rows.items()))
    assert 0.5 < found.share < 0.75
    assert found.reference < found.after < found.before
    assert found.shift.low < 0 < found.shift.high
    # All of the policy's own noise taken out: what is left is the reference's and the prompts'.
    raw, scores = row.metrics[PRIMARY], np.array(row.heldout["reward"])
    reach = float(t.ppf(0.975, len(scores) - 1))
    error = (
        ((raw.high - raw.low) / 2 / reach) ** 2 - scores.var(1, ddof=1).mean() / scores.size
    ) ** 0.5
    adjusted = Interval(raw.value, raw.value - reach * error, raw.value + reach * error)
    perfect = row.model_copy(update={"metrics": row.metrics | {f"{PRIMARY}_adjusted": adjusted}})
    found = control_variate(replace(sweep, rows={name: perfect}))
    assert found.share == pytest.approx(1)
    assert (found.after, found.shift.value) == (pytest.approx(error), 0)
    assert control_variate(evidence.sweep) is None


def test_figures_are_drawn(parts):
    for spec in parts[0].figures.values():
        drawn = vl_convert.vegalite_to_svg(json.dumps(spec))
        assert drawn.count("<path") > 10


def test_a_report_of_one_sweep_leaves_the_others_files(tmp_path, monkeypatch):
    shutil.copytree(ROOT / "experiments/results/seed-table", tmp_path / "experiments/results/mine")
    other = tmp_path / "results/report/controlled-kl.svg"
    other.parent.mkdir(parents=True)
    other.write_text("theirs")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["report", "mine"])
    report.main()
    assert other.read_text() == "theirs"
    assert (tmp_path / "results/report/mine.md").exists()
    assert (tmp_path / "results/report/mine-kl.svg").exists()
    # One seed: no pair is tested, so there is nothing to draw of pairs.
    assert not (tmp_path / "results/report/mine-pairs.svg").exists()


def test_a_sweep_that_moved_nowhere_is_said_to_need_a_higher_learning_rate(evidence):
    rows = {
        name: row.model_copy(update={"metrics": row.metrics | {"kl": Interval(0.01, None, None)}})
        for name, row in evidence.sweep.rows.items()
    }
    still = part(gather(replace(evidence.sweep, rows=rows)))
    assert "learning rate is too low" in still.verdict
    assert list(still.figures) == ["controlled-kl"]


@pytest.mark.parametrize("text", ["a|b", "*a* _b_ <b>\n", "[x](y) `c`"])
def test_text_stays_text_in_markdown(text):
    shown = escape(text)
    assert "\n" not in shown
    assert not re.search(r"(?<!\\)[|*_`\[\]]|<", shown)


@pytest.mark.browser
def test_the_page_draws_its_figures_without_a_network(parts, tmp_path):
    (tmp_path / "index.html").write_text(page(parts), encoding="utf-8")
    with browser.opened(tmp_path / "index.html") as opened:
        assert opened.page.locator(".figure svg").count() == len(parts[0].figures)
        assert parts[0].verdict in opened.page.inner_text("body")
        assert opened.errors == []
        assert {url.split(":")[0] for url in opened.requests} <= {"file", "data"}
