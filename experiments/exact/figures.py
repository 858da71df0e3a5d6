"""The figure: reward at equal divergence against the number of pairs, a panel per kind of label."""

from collections.abc import Sequence
from pathlib import Path

import altair as alt

TITLES = {
    "kl": "reward at KL(π‖π_ref) = 1 nat",
    "forward_kl": "reward at KL(π_ref‖π) = 0.5 nat",
}
WIDTH, HEIGHT = 230, 240


def draw(rows: Sequence[dict], folder: Path) -> None:
    """Write kl.svg and forward_kl.svg of the rows of pairs.json into `folder`."""
    for name, title in TITLES.items():
        kinds = list(dict.fromkeys(row["labels"] for row in rows))
        panels = [_panel(rows, name, kind, title if kind == kinds[0] else "") for kind in kinds]
        chart = alt.hconcat(*panels).resolve_scale(y="shared")
        chart.configure_view(stroke=None).configure_axis(grid=False).save(folder / f"{name}.svg")


def _panel(rows: Sequence[dict], name: str, kind: str, title: str) -> alt.LayerChart:
    points = [
        {
            "loss": row["loss"],
            "pairs": row["pairs"],
            "reward": row["reward"],
            "low": row["reward"] - row["half"],
            "high": row["reward"] + row["half"],
        }
        for row in rows
        if (row["labels"], row["at"]) == (kind, name) and row["reward"] is not None
    ]
    ticks = sorted({point["pairs"] for point in points})
    base = alt.Chart(alt.Data(values=points), width=WIDTH, height=HEIGHT, title=f"labels: {kind}")
    axis = alt.Axis(values=ticks, labelAngle=0)
    x = alt.X("pairs:Q", scale=alt.Scale(type="log", base=2), axis=axis)
    order = list(dict.fromkeys(row["loss"] for row in rows))
    color = alt.Color("loss:N", sort=order, scale=alt.Scale(domain=order, scheme="category10"))
    lines = base.mark_line(point=True).encode(x=x, y=alt.Y("reward:Q", title=title), color=color)
    bars = base.mark_rule(opacity=0.6).encode(x=x, y="low:Q", y2="high:Q", color=color)
    return lines + bars
