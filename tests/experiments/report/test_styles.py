"""Every curve of the committed sweeps can be told from the others, by colour and without."""

import json
from pathlib import Path

from experiments.report.analysis.points import curve_name
from experiments.report.charts.styles import STYLES, styles
from experiments.sweep.results import RowParams

RESULTS = Path(__file__).parents[3] / "experiments/results"


def test_styles_differ_in_colour_in_shape_and_in_dash():
    for kind in zip(*STYLES, strict=True):
        assert len(set(map(str, kind))) == len(STYLES)


def test_the_curves_of_the_committed_sweeps_have_styles_of_their_own():
    rows = [
        row
        for file in RESULTS.glob("*.json")
        for row in json.loads(file.read_text(encoding="utf-8"))["rows"].values()
    ]
    curves = {curve_name(RowParams(**row["params"])) for row in rows}
    drawn = styles(curves).values()
    assert len({style.color for style in drawn}) == len(curves)
