"""A colour, shape and dash for each loss, the same in every chart of a report.

The first seven colours are Okabe and Ito's and the next three Tol's, told apart by people with any
common colour blindness, the last is a brown; shape and dash tell losses apart without colour.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import altair as alt

from experiments.report.analysis.points import curve_order

# Shapes that Vega has no name for, as SVG paths.
_STAR = "M0,-1L.23,-.31L.95,-.31L.36,.12L.59,.81L0,.38L-.59,.81L-.36,.12L-.95,-.31L-.23,-.31Z"
_HEXAGON = "M0,-.9L.78,-.45L.78,.45L0,.9L-.78,.45L-.78,-.45Z"
_SALTIRE = "M-.9,-.6L-.6,-.9L0,-.3L.6,-.9L.9,-.6L.3,0L.9,.6L.6,.9L0,.3L-.6,.9L-.9,.6L-.3,0Z"
STYLES: tuple[tuple[str, str, list[int]], ...] = (
    ("#0072B2", "circle", []),
    ("#E69F00", "square", [6, 3]),
    ("#009E73", "triangle-up", [2, 2]),
    ("#D55E00", "diamond", [8, 3, 2, 3]),
    ("#CC79A7", "triangle-down", [4, 2]),
    ("#56B4E9", "cross", [1, 3]),
    ("#000000", "triangle-right", [10, 3]),
    ("#882255", _STAR, [5, 1]),
    ("#999933", "triangle-left", [1, 1]),
    ("#332288", _HEXAGON, [12, 2, 2, 2]),
    ("#663300", _SALTIRE, [3, 1, 1, 1]),
)


@dataclass(frozen=True)
class Style:
    """How one loss is drawn: colour, point and line."""

    color: str
    shape: str
    dash: list[int]


@dataclass(frozen=True)
class Encodings:
    """The channels that tell losses apart, with one legend."""

    color: alt.Color
    shape: alt.Shape
    dash: alt.StrokeDash


def styles(curves: Iterable[str]) -> dict[str, Style]:
    """One style per curve, in their order; past eleven the styles begin again."""
    ordered = sorted(set(curves), key=curve_order)
    return {name: Style(*STYLES[i % len(STYLES)]) for i, name in enumerate(ordered)}


def encodings(
    style_by_curve: dict[str, Style], curves: Iterable[str], columns: int = 7
) -> Encodings:
    """Colour, shape and dash by the field `curve`, for the curves that are there.

    The legend has so many `columns`.
    """
    names = list(curves)
    shown = [style_by_curve[name] for name in names]
    legend = alt.Legend(
        orient="top", title=None, symbolSize=90, symbolOpacity=1, labelFontSize=12, columns=columns
    )

    def scale(values: list[Any]) -> alt.Scale:
        return alt.Scale(domain=names, range=values)

    colors, shapes = [style.color for style in shown], [style.shape for style in shown]
    dashes = [style.dash or [1, 0] for style in shown]
    return Encodings(
        alt.Color("curve:N", scale=scale(colors), legend=legend),
        alt.Shape("curve:N", scale=scale(shapes), legend=legend),
        alt.StrokeDash("curve:N", scale=scale(dashes), legend=legend),
    )
