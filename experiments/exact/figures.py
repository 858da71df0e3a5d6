"""The figure and the tables of the rows that the study computes."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import altair as alt

TITLES = {
    "kl": "reward at KL(π‖π_ref) = 1 nat",
    "forward_kl": "reward at KL(π_ref‖π) = 0.5 nats",
}
COLORS = {  # Okabe and Ito's, grey for the second of the same divergence
    "sigmoid": "#000000",
    "hinge": "#999999",
    "ipo": "#56B4E9",
    "jeffreys": "#009E73",
    "alpha": "#E69F00",
    "jsd": "#CC79A7",
    "fkl": "#D55E00",
    "chi2": "#0072B2",
}


def draw(rows: Sequence[dict], path: Path) -> None:
    """Write the figure of the rows of pairs.json: a row per divergence, a column per labels."""
    kinds = list(dict.fromkeys(row["labels"] for row in rows))
    panels = [
        alt.hconcat(*(_panel(rows, name, kind) for kind in kinds)).resolve_scale(y="shared")
        for name in TITLES
    ]
    chart = alt.vconcat(*panels).configure_view(stroke=None).configure_axis(grid=False)
    chart.configure_legend(title=None, symbolType="stroke", symbolStrokeWidth=3).save(path)


def _panel(rows: Sequence[dict], name: str, kind: str) -> alt.LayerChart:
    points = [
        row | {"low": row["reward"] - row["half"], "high": row["reward"] + row["half"]}
        for row in rows
        if (row["labels"], row["at"]) == (kind, name) and row["reward"] is not None
    ]
    kept = ("loss", "pairs", "reward", "low", "high")
    values = [{key: point[key] for key in kept} for point in points]
    ticks = sorted({row["pairs"] for row in rows})
    base = alt.Chart(alt.Data(values=values), width=210, height=200, title=f"labels: {kind}")
    x = alt.X("pairs:Q", scale=alt.Scale(type="log", base=2), axis=alt.Axis(values=ticks))
    scale = alt.Scale(domain=list(COLORS), range=list(COLORS.values()))
    color = alt.Color("loss:N", scale=scale)
    y = alt.Y("reward:Q", title=TITLES[name], scale=alt.Scale(zero=False))
    lines = base.mark_line(point=True).encode(x=x, y=y, color=color)
    return lines + base.mark_rule(opacity=0.6).encode(x=x, y="low:Q", y2="high:Q", color=color)


def tables(
    optima: Sequence[dict],
    rows: Sequence[dict],
    crossed: Mapping[str, Sequence[dict]],
    settings: Mapping,
) -> str:
    """What the study found, in Markdown; ± is a 95 % interval over seeds."""
    pairs = list(dict.fromkeys(row["pairs"] for row in rows))
    text = [
        "<!-- Written by `python -m experiments.exact`. -->",
        "# What theory says, in numbers",
        f"{settings['prompts']} prompts of 341 completions, {settings['seeds']} seeds, α ="
        f" {settings['alpha']}, {settings['cpu_seconds']} CPU-seconds. ± is a 95 % interval over"
        " seeds; of a difference, one that holds for all losses of its column at once.",
        "## Infinitely many pairs",
        "The optimum in closed form, and what training to the minimum from the reference misses.",
    ]
    measures = ("beta", "reward", "kl", "forward_kl", "jsd", "entropy")
    lines = [[r["loss"], *(f"{r[m]:.3f}" for m in measures), f"{r['gap']:.0e}"] for r in optima]
    text.append(_table(["loss", "β", *measures[1:], "gap in reward"], lines))
    for name, title in TITLES.items():
        for kind in dict.fromkeys(row["labels"] for row in rows):
            of = [row for row in rows if (row["at"], row["labels"]) == (name, kind)]
            text.append(f"## {title[0].upper()}{title[1:]}, labels: {kind}")
            text.append(_by_loss(of, pairs, "pairs"))
    text.append(f"## The reward estimate and the divergence crossed, {settings['crossed']} pairs")
    of = [row | {"way": way} for way, found in crossed.items() for row in found]
    text.append(_by_loss(of, list(crossed), "way"))
    return "\n\n".join(text) + "\n"


def _by_loss(rows: Sequence[dict], columns: Sequence, key: str) -> str:
    cells = {(row["loss"], row[key]): _cell(row) for row in rows}
    losses = dict.fromkeys(row["loss"] for row in rows)
    lines = [[loss, *(cells.get((loss, column), "") for column in columns)] for loss in losses]
    heads = [f"{column:,} pairs" if key == "pairs" else column for column in columns]
    return _table(["loss (and minus sigmoid)", *heads], lines)


def _cell(row: dict) -> str:
    if row["reward"] is None:
        return "not reached"
    text = f"{row['reward']:.3f} ± {row['half']:.3f}"
    if row.get("difference") is None:
        return text
    return f"{text} ({row['difference']:+.3f} ± {row['difference_half']:.3f})"


def _table(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rows = [heads, ["---"] * len(heads), *lines]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
