"""The report's figures as Vega-Lite: the frontier, differences from sigmoid, and all pairs."""

from collections.abc import Sequence
from typing import Any

import altair as alt
import numpy as np

from experiments.report.compare import Difference, compare, scores_at
from experiments.report.evidence import PRIMARY, Evidence
from experiments.report.text import with_ends

Spec = dict[str, Any]

# Okabe and Ito's colours, then Tol's: told apart under any common colour blindness.
COLORS = ["#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#882255", "#999933"]
COLORS += ["#332288", "#663300"]
GREY = "#767676"
OUTCOMES = {"ahead": "#0072B2", "equivalent": "#009E73", "undecided": "#767676"}
PER_PANEL = 5  # losses whose bands share a panel
GRID = 13  # places along KL
CONFIG = {
    "background": "white",
    "padding": {"left": 24, "right": 8, "top": 5, "bottom": 5},  # a browser's font may be wider
    "axis": {"gridColor": "#ececec", "labelFontSize": 11, "titleFontWeight": "normal"},
    "title": {"anchor": "start", "fontSize": 14, "subtitleColor": "#555555"},
    "legend": {"orient": "top", "title": None, "symbolSize": 90},
}


def _spec(chart: alt.TopLevelMixin) -> Spec:
    return chart.to_dict() | {"config": CONFIG}


def _color(names: Sequence[str]) -> alt.Color:
    scale = alt.Scale(domain=list(names), range=COLORS[: len(names)])
    columns = 5 if max(map(len, names)) < 24 else 1
    legend = alt.Legend(symbolOpacity=1, labelLimit=0, columns=columns)
    return alt.Color("loss:N", scale=scale, legend=legend)


def _scale(found: Sequence[Difference]) -> alt.Scale:
    """Around 0, as far as intervals of half of the most seeds or more reach; others are cut."""
    half = max((pair.seeds for pair in found), default=0) / 2
    ends = [end for pair in found if pair.seeds >= half for end in (pair.low, pair.high)]
    reach = 1.05 * max((abs(end) for end in ends if end is not None), default=1.0)
    return alt.Scale(domain=[-reach, reach], nice=False)


def frontier(evidence: Evidence) -> Spec:
    """Reward above the reference's against KL: a line per loss, means over seeds, no bands."""
    rows = [
        {
            "loss": point.curve,
            "KL": point.mean("kl").value,
            "reward": point.mean("reward_difference").value,
            "point": point.label,
        }
        for point in evidence.points
    ]
    rows += [
        {"loss": curve, "KL": 0.0, "reward": 0.0, "point": "start"} for curve in evidence.curves
    ]
    x = alt.X("KL:Q", title="KL(π‖reference), nats per completion", scale=alt.Scale(type="sqrt"))
    y = alt.Y("reward:Q", title="reward above the reference's")
    base = alt.Chart(alt.Data(values=rows)).encode(x=x, y=y, color=_color(list(evidence.curves)))
    layers = [
        base.mark_line(strokeWidth=2).encode(order="KL:Q"),
        base.mark_point(filled=True, size=45, opacity=1).encode(
            tooltip=["point:N", "KL:Q", "reward:Q"]
        ),
    ]
    untrained = [
        {"KL": one.kl, "reward": one.metrics["reward_difference"].value, "label": one.label}
        for one in evidence.baselines
    ]
    if untrained:
        grey = alt.Chart(alt.Data(values=untrained)).encode(x=x, y=y)
        layers += [
            grey.mark_point(shape="cross", size=80, color=GREY, opacity=1),
            grey.mark_text(align="left", dx=8, color=GREY).encode(text="label:N"),
        ]
    chart = alt.layer(*layers).properties(
        width=620,
        height=380,
        title=alt.TitleParams(
            f"{evidence.sweep.sweep}: reward against KL",
            subtitle="lines: means over seeds, from large β to small; grey: without training",
        ),
        description="Reward above the reference's against KL, a line per loss.",
    )
    return _spec(chart)


def differences(evidence: Evidence, score: str = PRIMARY) -> Spec:
    """Each loss minus the first along KL, with bands that hold for all losses at a KL at once."""
    curves = evidence.curves
    first, *others = curves
    largest = max(point.mean("kl").value for point in evidence.points)
    rows, found = [], []
    for kl in np.linspace(0, largest**0.5, GRID)[1:] ** 2:
        scores = scores_at(curves, float(kl), score)
        for pair in (one.swapped for one in compare(scores, None)):
            if pair.second == first and pair.low is not None:
                found.append(pair)
                panel = others.index(pair.first) // PER_PANEL
                row = {"KL": float(kl), "loss": pair.first, "panel": f"{panel + 1}"}
                rows.append(row | {"value": pair.value, "low": pair.low, "high": pair.high})
    data = alt.Chart(alt.Data(values=rows))
    x = alt.X("KL:Q", title="KL(π‖reference), nats per completion", scale=alt.Scale(type="sqrt"))
    title = "difference in reward"
    base = data.encode(x=x, color=_color(list(curves)))
    chart = alt.layer(
        data.mark_rule(color=GREY, strokeDash=[4, 4]).encode(y=alt.datum(0.0)),
        base.mark_area(opacity=0.12, clip=True).encode(
            y=alt.Y("low:Q", title=title, scale=_scale(found)), y2="high:Q"
        ),
        base.mark_line(strokeWidth=2).encode(y="value:Q"),
    ).properties(width=330, height=260)
    panels = chart.facet(
        column=alt.Column("panel:N", title=None, header=alt.Header(labels=False))
    ).properties(
        title=alt.TitleParams(
            f"{evidence.sweep.sweep}: differences from {first} at equal KL",
            subtitle="bands: 95 %, simultaneous over all pairs of losses at a KL; with few seeds"
            " they are cut",
        ),
        description=f"Each loss's reward minus {first}'s along KL, with simultaneous bands.",
    )
    return _spec(panels)


def pairs(evidence: Evidence) -> Spec:
    """A forest plot: every pair of losses at the primary KL, over the margin of equivalence."""
    level = evidence.primary
    tested: list[Difference] = [d for d in level.differences if d.low is not None] if level else []
    rows = [
        {
            "pair": pair.name,
            "value": pair.value,
            "low": pair.low,
            "high": pair.high,
            "outcome": pair.outcome,
            "difference": with_ends(pair.value, pair.low, pair.high),
        }
        for pair in tested
    ]
    title = "difference in reward, first minus second"
    x = alt.X("low:Q", title=title, scale=_scale(tested))
    base = alt.Chart(alt.Data(values=rows)).encode(
        y=alt.Y("pair:N", title=None, sort=None, axis=alt.Axis(labelLimit=260)),
        color=alt.Color(
            "outcome:N", scale=alt.Scale(domain=list(OUTCOMES), range=list(OUTCOMES.values()))
        ),
    )
    layers: list[alt.Chart] = []
    if margin := evidence.margin[PRIMARY]:
        inside = alt.Chart(alt.Data(values=[{"low": -margin, "high": margin}]))
        layers.append(inside.mark_rect(color=GREY, opacity=0.15).encode(x=x, x2="high:Q"))
    layers += [
        base.mark_rule(strokeWidth=2, clip=True).encode(x=x, x2="high:Q"),
        base.mark_point(filled=True, size=80, opacity=1).encode(
            x="value:Q", tooltip=["pair:N", "difference:N", "outcome:N"]
        ),
    ]
    at = f" of {level.kl:g}" if level else ""
    chart = alt.layer(*layers).properties(
        width=440,
        height=22 * max(len(rows), 1),
        title=alt.TitleParams(
            f"{evidence.sweep.sweep}: losses compared at a KL{at}",
            subtitle="bars: 95 %, simultaneous over all pairs, cut with few seeds; grey: margin of"
            " equivalence",
        ),
        description="Differences in reward between pairs of losses at equal KL.",
    )
    return _spec(chart)
