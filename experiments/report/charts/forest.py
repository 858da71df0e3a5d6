"""A forest plot: each pair of losses' difference at equal KL with its interval, as Vega-Lite."""

from collections.abc import Sequence

import altair as alt

from experiments.report.analysis.equal_kl import CurvePair
from experiments.report.charts.vega import GREY, Data, Spec
from experiments.report.text import with_ends

ROW_HEIGHT = 24  # pixels
WIDTH = 440


def forest(sweep: str, pairs: Sequence[CurvePair]) -> Spec:
    """One line per comparable pair, in the pairs' order, and a rule at no difference."""
    records = Data()
    data = [
        {
            "pair": f"{pair.first} less {pair.second}",
            "value": difference.value,
            "low": difference.low,
            "high": difference.high,
            "difference": with_ends(difference),
            "ahead": pair.leader is not None,
            "outcome": f"{pair.leader} is ahead" if pair.leader else "within noise",
        }
        for pair in pairs
        if pair.overlap
        for difference in [pair.overlap.difference]
    ]
    ahead = sum(pair.leader is not None for pair in pairs)
    base = records.chart(data).encode(
        y=alt.Y("pair:N", title=None, sort=None, axis=alt.Axis(labelLimit=260)),
        color=alt.condition("datum.ahead", alt.value("#0072B2"), alt.value("#555555")),
    )
    title = "difference in reward at equal KL, first less second"
    tooltip = [
        alt.Tooltip(f"{field}:N", title=field) for field in ("pair", "difference", "outcome")
    ]
    chart = alt.layer(
        records.chart([{"value": 0.0}])
        .mark_rule(color=GREY, strokeDash=[4, 4])
        .encode(x=alt.X("value:Q", title=title)),
        base.mark_rule(strokeWidth=2).encode(x="low:Q", x2="high:Q"),
        base.mark_point(filled=True, size=90, opacity=1).encode(x="value:Q", tooltip=tooltip),
    ).properties(
        width=WIDTH,
        height=ROW_HEIGHT * max(len(data), 1),
        title=alt.TitleParams(
            f"{sweep}: losses compared at equal KL",
            subtitle="bars: 95 % intervals; one that crosses 0 is within noise",
        ),
        description=(
            f"Differences in reward between {len(data)} pairs of losses at equal KL, with 95 %"
            f" intervals: {ahead} of them exclude 0."
        ),
    )
    return records.spec(chart)
