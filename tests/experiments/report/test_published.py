"""The published table's orderings, told apart here or not."""

import re
from pathlib import Path

from experiments.report.analysis.points import points
from experiments.report.analysis.published import (
    PUBLISHED_REWARDS,
    Orderings,
    orderings,
    published_points,
)
from tests.support import report_fakes

PAGE = Path(__file__).parents[3] / "docs/imdb.md"


def test_the_figures_are_those_of_the_page():
    lines = re.findall(r"^\| ([a-z]+(?: 0\.\d)?) \|(.*)\|$", PAGE.read_text(encoding="utf-8"), re.M)
    found = {
        (loss, beta): float(cell.split("/")[0])
        for loss, cells in lines
        for beta, cell in zip((0.1, 0.5, 1.0, 10.0), cells.split("|"), strict=False)
        if "/" in cell
    }
    assert found == PUBLISHED_REWARDS


def sweep(gain: float, spread: float) -> list:
    """Rows whose reward is the published one times a gain, with as noisy samples as asked."""
    content = report_fakes.seed_table()
    for row in content["rows"].values():
        params = row["params"]
        name = f"alpha {params['alpha']:g}" if params["loss"] == "alpha" else params["loss"]
        reward = gain * PUBLISHED_REWARDS[name, params["beta"]]
        row["metrics"]["reward_difference"] = report_fakes.interval(reward, 0.1)
    return points(report_fakes.as_read(report_fakes.with_samples(content, spread=spread)))


def test_the_same_order_the_opposite_and_none():
    rows = published_points(sweep(1.0, 1e-6))
    assert [reward for _, reward in rows] == sorted(PUBLISHED_REWARDS.values(), reverse=True)
    equal = sum(  # pairs of rows with equal published rewards have no order
        one == two
        for place, one in enumerate(PUBLISHED_REWARDS.values())
        for two in list(PUBLISHED_REWARDS.values())[place + 1 :]
    )
    pairs = 18 * 17 // 2 - equal
    assert orderings(rows) == Orderings(pairs, 0, 0)
    assert orderings(published_points(sweep(-1.0, 1e-6))) == Orderings(0, pairs, 0)
    told = orderings(published_points(sweep(1.0, 50.0)))
    assert told.untold > 0.9 * pairs


def test_without_samples_no_order_is_told():
    bare = points(report_fakes.as_read(report_fakes.seed_table()))
    assert orderings(published_points(bare)) is None
