"""Points by two metrics, with intervals, their curves over β and the frontier, as Vega-Lite."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import altair as alt

from experiments.report.analysis.baselines import BaselinePoint
from experiments.report.analysis.frontier import undominated
from experiments.report.analysis.points import Point
from experiments.report.charts import labels
from experiments.report.charts.styles import Style, encodings
from experiments.report.charts.vega import GREY, Data, Records, Spec
from experiments.report.text import listed, with_ends

NARROW = 600  # up to this width a picture's key takes two lines
PHONE = 270  # a picture of this width fits a phone of 360 pixels, axis and margins included
ROOT_TICKS = [0, 0.01, 0.05, 0.1, 0.2, 0.5, *range(1, 11), 15, *range(20, 100, 10)]


@dataclass(frozen=True)
class MetricAxis:
    """A metric on an axis; with `root` the axis is a square root, which opens up small values."""

    metric: str
    title: str  # with its unit
    root: bool = False

    @property
    def shown_title(self) -> str:
        """The title, which says so where the axis is not linear."""
        return f"{self.title} (square-root axis)" if self.root else self.title


REWARD_AXIS = MetricAxis("reward_difference", "reward above the reference's")
JUDGE_AXIS = MetricAxis("judge_difference", "judge's score above the reference's")
# Gao et al. (arXiv 2210.10760) plot reward by the square root of KL: near 0 it is a straight line.
KL_AXIS = MetricAxis("kl", "KL(π‖π_ref), nats per completion", root=True)
ENTROPY_AXIS = MetricAxis("entropy", "predictive entropy, nats per token")
DISTINCT_AXIS = MetricAxis("distinct_2", "distinct-2")


@dataclass(frozen=True)
class ScatterPlot:
    """What a picture shows, and its size in pixels."""

    name: str
    title: str
    x: MetricAxis
    y: MetricAxis
    sign: int  # of x where more is better: -1 for a cost, such as KL; 0 draws no frontier
    width: int = 480
    height: int = 380


SCATTER_PLOTS = (
    ScatterPlot("kl", "reward against KL", KL_AXIS, REWARD_AXIS, -1, width=1000, height=480),
    ScatterPlot("entropy", "reward against predictive entropy", ENTROPY_AXIS, REWARD_AXIS, 1),
    ScatterPlot("distinct_2", "reward against distinct-2", DISTINCT_AXIS, REWARD_AXIS, 1),
    ScatterPlot("judge", "judge against reward", REWARD_AXIS, JUDGE_AXIS, 0),
)


def for_phones(plot: ScatterPlot) -> ScatterPlot:
    """The same plot, upright and narrow."""
    return replace(plot, width=PHONE, height=360)


@dataclass(frozen=True)
class AxisRange:
    """The values at an axis's two ends, and where a value lies between them."""

    low: float
    high: float
    root: bool

    def share(self, value: float) -> float:
        """Where `value` lies between the ends: 0 at the low one, 1 at the high one."""
        low, high, value = (
            max(v, 0) ** 0.5 if self.root else v for v in (self.low, self.high, value)
        )
        return (value - low) / (high - low)

    def altair(self) -> alt.Scale:
        """The scale as Altair has it."""
        domain = [self.low, self.high]
        kind: Literal["sqrt", "linear"] = "sqrt" if self.root else "linear"
        return alt.Scale(domain=domain, type=kind, nice=False, zero=False)

    def axis(self) -> alt.Axis:
        """A root axis gets its own ticks: Vega's are evenly spaced and crowd at the high end."""
        if not self.root:
            return alt.Axis()
        ticks = [tick for tick in ROOT_TICKS if tick <= self.high]
        return alt.Axis(values=ticks, format="~g", labelOverlap="greedy", labelSeparation=4)


def scatter(
    sweep: str,
    points: Sequence[Point],
    style_by_curve: dict[str, Style],
    plot: ScatterPlot,
    baselines: Sequence[BaselinePoint] = (),
) -> Spec:
    """Means over seeds with 95 % intervals, single seeds as small dots, β beside each point.

    Of baselines those are drawn that have both metrics, within the points' range of x.
    """
    origin = _origin(points, plot.x)
    x = _scale(points, plot.x, [] if origin is None else [origin], intervals=False)
    untrained = [row for row in _untrained(baselines, plot) if x.low <= row["x"] <= x.high]
    y = _scale(points, plot.y, [0.0, *(row["y"] for row in untrained)])
    data = _data(points, plot)
    labelled = _labelled([*data, *untrained], plot, x, y)
    data, untrained = labelled[: len(data)], labelled[len(data) :]
    names = dict.fromkeys(point.curve for point in points)
    on_phone = plot.width <= PHONE
    encoded = encodings(style_by_curve, names, columns=3 if on_phone else 7)
    title = plot.title if on_phone else f"{sweep}: {plot.title}"
    records = Data()
    base = records.chart(data).encode(
        x=alt.X("x:Q", title=plot.x.shown_title, scale=x.altair(), axis=x.axis()),
        y=alt.Y("y:Q", title=plot.y.shown_title, scale=y.altair()),
        color=encoded.color,
    )
    hovered = alt.selection_point(
        on="pointerover", clear="pointerout", fields=["curve"], empty=False
    )
    seeds = records.chart(_seeds(points, plot)).encode(
        x="x:Q",
        y="y:Q",
        color=encoded.color,
        shape=encoded.shape,
        opacity=alt.condition(hovered, alt.value(0.8), alt.value(0)),
    )
    lone = records.chart([row for row in data if row["alone"]])
    titles = {"point": "point", "seeds": "seeds", "across": plot.x.title, "up": plot.y.title}
    tooltip = [alt.Tooltip(f"{key}:N", title=title) for key, title in titles.items()]
    layers = [
        *_reference(records, origin, plot),
        *_baselines(records, untrained),
        *([_frontier(records, points, plot, origin)] if plot.sign else []),
        base.mark_area(clip=True, opacity=0.12).encode(y="y_low:Q", y2="y_high:Q"),
        lone.mark_rule(clip=True, opacity=0.6).encode(
            x="x:Q", y="y_low:Q", y2="y_high:Q", color=encoded.color
        ),
        base.mark_line(strokeWidth=1.8).encode(order="order:Q", strokeDash=encoded.dash),
        seeds.mark_point(size=25, filled=True),
        base.mark_point(size=80, filled=True, opacity=1)
        .encode(shape=encoded.shape, tooltip=tooltip)
        .add_params(hovered),
        _text(base, stroke="white", strokeWidth=3).encode(color=alt.ColorValue("white")),
        _text(base),
    ]
    chart = alt.layer(*layers).properties(
        width=plot.width,
        height=plot.height,
        title=alt.TitleParams(title, subtitle=_key(plot, bool(untrained))),
        description=_description(points, plot),
    )
    return records.spec(chart)


def _key(plot: ScatterPlot, untrained: bool) -> list[str]:
    """What the marks mean, for a picture that stands alone."""
    parts = ["numbers beside points: β", "bands: 95 % intervals, cut at the frame"]
    parts += ["thick grey line: the frontier"] if plot.sign else []
    parts += ["grey crosses: the reference untrained, T its temperature"] if untrained else []
    if plot.width <= PHONE:
        return parts
    lines = [parts] if plot.width > NARROW else [parts[:2], parts[2:]]
    return ["; ".join(line) for line in lines]


def _description(points: Sequence[Point], plot: ScatterPlot) -> str:
    """What the picture shows, for who cannot see it."""
    best = max(points, key=lambda point: point.estimate(plot.y.metric).value)
    across, up = best.estimate(plot.x.metric), best.estimate(plot.y.metric)
    names = listed(dict.fromkeys(point.curve for point in points))
    return (
        f"{plot.y.title.capitalize()} against {plot.x.title}, of {len(points)} points of the losses"
        f" {names}. The highest is {best.label}: {with_ends(up)} at {with_ends(across)}."
    )


def _text(base: alt.Chart, **mark: Any) -> alt.Chart:
    """The labels at their positions; drawn in white first, they stand clear of what they cross."""
    look: dict[str, Any] = {"fontSize": 11, "fontWeight": "bold"} | mark
    return base.mark_text(dx=alt.expr("datum.dx"), dy=alt.expr("datum.dy"), **look).encode(
        text="text:N"
    )


def _origin(points: Sequence[Point], axis: MetricAxis) -> float | None:
    """Where the reference lies on the axis, or None where its value was not measured."""
    if axis in (KL_AXIS, REWARD_AXIS):
        return 0.0
    name = f"{axis.metric}_reference"
    rows = [row for point in points for row in point.rows.values()]
    measured = [row.metrics[name].value for row in rows if name in row.metrics]
    return sum(measured) / len(measured) if measured else None


def _scale(
    points: Sequence[Point], axis: MetricAxis, shown: list[float], intervals: bool = True
) -> AxisRange:
    """Room for all seeds, `shown`, and of the intervals drawn what leaves the points room."""
    estimates = [point.estimate(axis.metric) for point in points]
    values = [value for estimate in estimates for value in estimate.values] + shown
    low, high = min(values), max(values)
    span = high - low or 1.0  # a single point has none
    room, edge = 0.1 * span, 0.05 * span
    drawn = estimates if intervals else []
    ends = [end for e in drawn for end in (e.low, e.high) if end is not None]
    low = max(min([low, *ends]), low - room) - edge
    high = min(max([high, *ends]), high + room) + edge
    return AxisRange(0.0 if axis.root else low, high, axis.root)


def _data(points: Sequence[Point], plot: ScatterPlot) -> Records:
    """One record per point."""
    rows = []
    for order, point in enumerate(points):
        across, up = point.estimate(plot.x.metric), point.estimate(plot.y.metric)
        rows.append(
            {
                "curve": point.curve,
                "point": point.label,
                "text": f"{point.beta:g}",
                "order": order,
                "alone": sum(other.curve == point.curve for other in points) == 1,
                "seeds": ", ".join(map(str, point.seeds)),
                **{"x": across.value, "x_low": across.low, "x_high": across.high},
                **{"y": up.value, "y_low": up.low, "y_high": up.high},
                "across": with_ends(across),
                "up": with_ends(up),
            }
        )
    return rows


def _labelled(data: Records, plot: ScatterPlot, x: AxisRange, y: AxisRange) -> Records:
    """The records with their labels' offsets from their points, in pixels."""
    marks = [
        (x.share(row["x"]) * plot.width, (1 - y.share(row["y"])) * plot.height) for row in data
    ]
    centres = labels.place(marks, [row["text"] for row in data], plot.width, plot.height)
    return [
        row | {"dx": round(centre[0] - mark[0], 1), "dy": round(centre[1] - mark[1], 1)}
        for row, mark, centre in zip(data, marks, centres, strict=True)
    ]


def _seeds(points: Sequence[Point], plot: ScatterPlot) -> Records:
    """One record per row, of points that have more seeds than one."""
    return [
        {
            "curve": point.curve,
            "x": point.metric(plot.x.metric, seed).value,
            "y": point.metric(plot.y.metric, seed).value,
        }
        for point in points
        for seed in point.seeds
        if len(point.seeds) > 1
    ]


def _reference(records: Data, origin: float | None, plot: ScatterPlot) -> list[alt.Chart]:
    """The reference: a line at its reward, and a mark where its x is known."""
    line = records.chart([{"y": 0.0}])
    layers = [line.mark_rule(color=GREY, strokeDash=[4, 4]).encode(y="y:Q")]
    if origin is not None:
        mark = records.chart([{"x": origin, "y": 0.0, "text": "reference"}])
        mark = mark.encode(x="x:Q", y="y:Q")
        layers.append(mark.mark_point(color="black", size=130, strokeWidth=2.5, opacity=1))
        layers.append(
            mark.mark_text(color="black", align="left", dx=8, dy=12).encode(text="text:N")
        )
    if plot.x is REWARD_AXIS:
        across = records.chart([{"x": 0.0}])
        layers.append(across.mark_rule(color=GREY, strokeDash=[4, 4]).encode(x="x:Q"))
    return layers


def _untrained(baselines: Sequence[BaselinePoint], plot: ScatterPlot) -> Records:
    """One record per baseline that has both metrics; of best-of-n the KL is its bound."""
    rows = []
    for baseline in baselines:
        measured = baseline.metrics | {KL_AXIS.metric: baseline.kl}
        if plot.x.metric in measured and plot.y.metric in measured:
            across, up = measured[plot.x.metric].value, measured[plot.y.metric].value
            name = baseline.label.replace("temperature ", "T=")  # a long one finds no room
            rows.append({"x": across, "y": up, "text": name})
    return rows


def _baselines(records: Data, rows: Records) -> list[alt.Chart]:
    """Grey crosses with their names beside them."""
    if not rows:
        return []
    base = records.chart(rows).encode(x="x:Q", y="y:Q")
    cross = base.mark_point(shape="cross", angle=45, filled=True, size=70, color=GREY, opacity=1)
    halo = {"color": "white", "stroke": "white", "strokeWidth": 3}
    look = {"fontSize": 10, "fontWeight": "normal"}
    return [cross, _text(base, **look, **halo), _text(base, **look, color="#555555")]


def _frontier(
    records: Data, points: Sequence[Point], plot: ScatterPlot, origin: float | None
) -> alt.Chart:
    """The frontier on the means, as the most reward to be had at no worse x: a staircase."""
    means = [
        (point.estimate(plot.x.metric).value, point.estimate(plot.y.metric).value)
        for point in points
    ]
    if origin is not None:
        means.append((origin, 0.0))
    free = undominated([-plot.sign * x for x, _ in means], [y for _, y in means])
    steps = [{"x": x, "y": y} for (x, y), keep in zip(means, free, strict=True) if keep]
    drawn: Literal["step-after", "step-before"] = "step-after" if plot.sign < 0 else "step-before"
    return (
        records.chart(steps)
        .mark_line(interpolate=drawn, color=GREY, strokeWidth=9, opacity=0.25)
        .encode(x="x:Q", y="y:Q")
    )
