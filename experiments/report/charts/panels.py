"""Small panels, one per loss: calibration and training curves by β, as Vega-Lite."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

import altair as alt
import numpy as np
from scipy.stats import binomtest

from experiments.report.analysis.points import Point, curves
from experiments.report.charts.vega import Data, Spec
from experiments.sweep.results import CalibrationBin
from fdpo.baselines.intervals import CONFIDENCE

Panel = Callable[[list[Point]], alt.LayerChart | alt.FacetChart]

HALVES = alt.Axis(values=[0.5, 0.75, 1], format="~g")
SIDE = 150
PANELS_PER_ROW = 5
DECADES = 30  # times the typical size, from which an axis is logarithmic
BIN_WIDTH = 0.05  # evaluation's ten bins from 1/2 to 1
CURVE_TITLES = {"loss": "loss", "margin": "margin", "accuracy": "pairs ordered as rewarded"}


def calibration(sweep: str, points: Sequence[Point]) -> Spec:
    """Share of pairs that came true by the probability stated, one panel per loss, seeds pooled."""
    records = Data()

    def panel(curve: list[Point]) -> alt.LayerChart | alt.FacetChart:
        data = [
            {"β": f"{point.beta:g}", **merged.model_dump(), **share_interval(merged)}
            for point in curve
            for merged in pooled_bins([row.calibration for row in point.rows.values()])
        ]
        base = records.chart(data).encode(
            x=alt.X("confidence:Q", title="stated", scale=alt.Scale(domain=[0.5, 1]), axis=HALVES),
            y=alt.Y("accuracy:Q", title="came true", scale=alt.Scale(domain=[0, 1])),
            color=_by_beta(points),
        )
        size = alt.Size("count:Q", title="pairs", scale=alt.Scale(range=[10, 160]))
        tooltip = ["β:N", "count:Q", alt.Tooltip("accuracy:Q", format=".3f")]
        ideal = records.chart([{"x": 0.5, "y": 0.5}, {"x": 1, "y": 1}])
        return alt.layer(
            ideal.mark_line(color="#767676", strokeDash=[4, 4]).encode(x="x:Q", y="y:Q"),
            base.mark_rule(opacity=0.45).encode(y="low:Q", y2="high:Q"),
            base.mark_point(filled=True, opacity=0.9).encode(size=size, tooltip=tooltip),
        )

    title = f"{sweep}: share of test pairs that came true, by the probability stated"
    return records.spec(_beside(points, panel, title))


def share_interval(bin: CalibrationBin) -> dict[str, float]:
    """Wilson's 95 % interval of the share of a bin's pairs that came true, pairs independent."""
    right = round(bin.accuracy * bin.count)
    ends = binomtest(right, bin.count).proportion_ci(CONFIDENCE, "wilson")
    return {"low": float(ends.low), "high": float(ends.high)}


def pooled_bins(rows: Iterable[Sequence[CalibrationBin]]) -> list[CalibrationBin]:
    """The bins of several rows as one: weighted by pairs, ascending."""
    grouped: dict[int, list[CalibrationBin]] = defaultdict(list)
    for bins in rows:
        for bin in bins:
            grouped[int((bin.confidence - 0.5) / BIN_WIDTH + 1e-9)].append(bin)
    merged = []
    for _, bins in sorted(grouped.items()):
        counts = [bin.count for bin in bins]
        stated = float(np.average([bin.confidence for bin in bins], weights=counts))
        true = float(np.average([bin.accuracy for bin in bins], weights=counts))
        merged.append(CalibrationBin(confidence=stated, accuracy=true, count=sum(counts)))
    return merged


def training(sweep: str, points: Sequence[Point], quantity: str) -> Spec:
    """A quantity by step, one panel per loss, mean over seeds; lines: training, points: test."""
    records = Data()
    curves_of = [row.curves for point in points for row in point.rows.values()]
    values = [
        value
        for row in curves_of
        for split in ("train", "test")
        for _, value in row.get(f"{split}/{quantity}", [])
        if value is not None
    ]
    scale = value_scale(values)

    def panel(curve: list[Point]) -> alt.LayerChart | alt.FacetChart:
        def chart(split: str) -> alt.Chart:
            data = [
                {"β": f"{point.beta:g}", "step": step, "value": value}
                for point in curve
                for step, value in mean_curve(
                    row.curves.get(f"{split}/{quantity}", []) for row in point.rows.values()
                )
            ]
            return records.chart(data).encode(
                x=alt.X("step:Q", title="step"),
                y=alt.Y("value:Q", title=CURVE_TITLES[quantity], scale=scale),
                color=_by_beta(points),
            )

        return alt.layer(
            chart("train").mark_line(strokeWidth=1, opacity=0.7),
            chart("test").mark_line(strokeWidth=2, strokeDash=[4, 3]),
            chart("test").mark_point(filled=True, size=50, opacity=1),
        )

    title = f"{sweep}: {CURVE_TITLES[quantity]}, by step (line: training; points: test)"
    return records.spec(_beside(points, panel, title))


def value_scale(values: Sequence[float]) -> alt.Scale:
    """Linear, or where values span decades symmetrically logarithmic, linear near zero."""
    sizes = np.abs(values)
    typical = float(np.median(sizes)) if len(sizes) else 0.0
    if typical > 0 and sizes.max() > DECADES * typical:
        return alt.Scale(type="symlog", constant=typical)
    return alt.Scale(zero=False)


def mean_curve(rows: Iterable[Sequence[tuple[float, float | None]]]) -> list[tuple[float, float]]:
    """The mean over rows of the value at each step, to four digits, as charts show no more.

    A value that was no number is left out.
    """
    at: dict[float, list[float]] = defaultdict(list)
    for row in rows:
        for step, value in row:
            if value is not None:
                at[step].append(value)
    return [(step, float(f"{np.mean(at[step]):.4g}")) for step in sorted(at)]


def _beside(points: Sequence[Point], panel: Panel, title: str) -> alt.ConcatChart:
    """A panel for each curve, with one scale of colours."""
    panels = [
        panel(curve).properties(title=alt.TitleParams(name, fontSize=12), width=SIDE, height=SIDE)
        for name, curve in curves(points).items()
    ]
    return alt.concat(*panels, columns=PANELS_PER_ROW).properties(
        title=alt.TitleParams(title, offset=14), description=title
    )


def _by_beta(points: Sequence[Point]) -> alt.Color:
    """β from large to small; lightness too falls along the scale, so it holds in grey."""
    betas = [f"{beta:g}" for beta in sorted({point.beta for point in points}, reverse=True)]
    scale = alt.Scale(domain=betas, scheme=alt.SchemeParams("viridis", extent=[0.0, 0.9]))
    return alt.Color("β:N", scale=scale, legend=alt.Legend(orient="right", title="β"))
