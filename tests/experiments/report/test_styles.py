"""Every loss of the committed sweeps can be told from the others, by colour and without."""

import json
from pathlib import Path

from experiments.report.charts.styles import STYLES, styles
from fdpo.losses import LOSSES

RESULTS = Path(__file__).parents[3] / "experiments/results"


def test_styles_differ_in_colour_in_shape_and_in_dash():
    for kind in zip(*STYLES, strict=True):
        assert len(set(map(str, kind))) == len(STYLES)


def test_the_committed_curves_and_all_losses_have_styles_of_their_own():
    params = [
        row["params"]
        for file in RESULTS.glob("*.json")
        for row in json.loads(file.read_text(encoding="utf-8"))["rows"].values()
    ]
    alphas = {f"alpha {p['alpha']:g}" for p in params if p["loss"] == "alpha"}
    curves = (set(LOSSES) - {"alpha"}) | alphas
    drawn = styles(curves).values()
    assert len({style.color for style in drawn}) == len(curves)
