"""A forest plot: each pair of losses' difference at equal KL with its interval, as Vega-Lite."""

from collections.abc import Sequence

import altair as alt

from experiments.report.analysis.verdict import PairVerdict
from experiments.report.charts.vega import GREY, Data, Spec
from experiments.report.text import with_ends

ROW_HEIGHT = 24  # pixels
WIDTH = 440
COLORS = {"ahead": "#0072B2", "equivalent": "#009E73", "undecided": "#555555"}
SHAPES = {"ahead": "circle", "equivalent": "square", "undecided": "diamond"}


def forest(sweep: str, verdicts: Sequence[PairVerdict], margin: float | None) -> Spec:
    """One line per comparable pair, in the pairs' order, over the margin of equivalence."""
    records = Data()
    data = [
        {
            "pair": f"{verdict.pair.first} less {verdict.pair.second}",
            "value": difference.value,
            "low": difference.low,
            "high": difference.high,
            "difference": with_ends(difference),
            "outcome": verdict.outcome,
        }
        for verdict in verdicts
        for difference in [verdict.difference]
        if difference
    ]
    counts = {name: sum(row["outcome"] == name for row in data) for name in COLORS}
    names = list(COLORS)
    legend = alt.Legend(orient="top", title=None, symbolOpacity=1, columnPadding=4)
    outcome = alt.Color(
        "outcome:N", scale=alt.Scale(domain=names, range=list(COLORS.values())), legend=legend
    )
    shape = alt.Shape(
        "outcome:N", scale=alt.Scale(domain=names, range=list(SHAPES.values())), legend=legend
    )
    base = records.chart(data).encode(
        y=alt.Y("pair:N", title=None, sort=None, axis=alt.Axis(labelLimit=260)), color=outcome
    )
    title = ["difference in reward at equal KL,", "first less second"]
    tooltip = [
        alt.Tooltip(f"{field}:N", title=field) for field in ("pair", "difference", "outcome")
    ]
    band = []
    if margin is not None:
        inside = records.chart([{"low": -margin, "high": margin}])
        band = [
            inside.mark_rect(color=GREY, opacity=0.15).encode(
                x=alt.X("low:Q", title=title), x2="high:Q"
            )
        ]
    chart = alt.layer(
        *band,
        records.chart([{"value": 0.0}])
        .mark_rule(color=GREY, strokeDash=[4, 4])
        .encode(x=alt.X("value:Q", title=title)),
        base.mark_rule(strokeWidth=2).encode(x="low:Q", x2="high:Q"),
        base.mark_point(filled=True, size=90, opacity=1).encode(
            x="value:Q", shape=shape, tooltip=tooltip
        ),
    ).properties(
        width=WIDTH,
        height=ROW_HEIGHT * max(len(data), 1),
        title=alt.TitleParams(
            f"{sweep}: losses compared at equal KL",
            subtitle="bars: 95 % intervals" + ("; grey: margin of equivalence" if band else ""),
        ),
        description=(
            f"Differences in reward between {len(data)} pairs of losses at equal KL, with 95 %"
            f" intervals: {counts['ahead']} with a loss ahead, {counts['equivalent']} equivalent,"
            f" {counts['undecided']} undecided."
        ),
    )
    return records.spec(chart)
