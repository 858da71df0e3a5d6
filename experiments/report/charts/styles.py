"""A colour, shape and dash for each loss, the same in every chart of a report.

Colours are Okabe and Ito's, told apart by people with any common colour blindness; shape and dash
tell losses apart without colour.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import altair as alt

from experiments.report.analysis.points import curve_order

STYLES = (
    ("#0072B2", "circle", []),
    ("#E69F00", "square", [6, 3]),
    ("#009E73", "triangle-up", [2, 2]),
    ("#D55E00", "diamond", [8, 3, 2, 3]),
    ("#CC79A7", "triangle-down", [4, 2]),
    ("#56B4E9", "cross", [1, 3]),
    ("#000000", "triangle-right", [10, 3]),
)


@dataclass(frozen=True)
class Style:
    color: str
    shape: str
    dash: list[int]


def styles(curves: Iterable[str]) -> dict[str, Style]:
    """A style a curve, in their order; past seven the styles begin again."""
    ordered = sorted(set(curves), key=curve_order)
    return {name: Style(*STYLES[i % len(STYLES)]) for i, name in enumerate(ordered)}


def encodings(look: dict[str, Style], curves: Iterable[str]) -> dict[str, alt.SchemaBase]:
    """Colour, shape and dash by the field `curve`, in one legend for the curves that are there."""
    names = list(curves)
    chosen = [look[name] for name in names]
    legend = alt.Legend(orient="top", title=None, symbolSize=90, labelFontSize=12, columns=7)
    channels = {
        "color": (alt.Color, [style.color for style in chosen]),
        "shape": (alt.Shape, [style.shape for style in chosen]),
        "strokeDash": (alt.StrokeDash, [style.dash or [1, 0] for style in chosen]),
    }
    return {
        channel: kind("curve:N", scale=alt.Scale(domain=names, range=values), legend=legend)
        for channel, (kind, values) in channels.items()
    }
