"""The report's tables, as cells: the page and the Markdown show the same."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from experiments.report.analysis.equal_kl import CurvePair, levels, reward_at
from experiments.report.analysis.estimates import Estimate
from experiments.report.analysis.frontier import Standing
from experiments.report.analysis.points import Point, curves, ordered, reads_alpha
from experiments.report.text import ends, number
from experiments.sweep.results import RowResults, SweepResults
from fdpo.evaluation.metric_registry import OVERVIEW_METRICS, MetricGroup, metrics_of
from fdpo.evaluation.metrics.intervals import Interval

OVERVIEW = tuple(metric.name for metric in OVERVIEW_METRICS)


@dataclass(frozen=True)
class Cell:
    """What a cell shows, an interval or the like below it, and what it is sorted by."""

    text: str
    detail: str = ""
    order: float | None = None


@dataclass(frozen=True)
class ReportTable:
    """A table with its title and a note on how to read it."""

    title: str
    note: str
    columns: list[str]
    rows: list[list[Cell]] = field(default_factory=list)


def spaced(metric: str) -> str:
    """A metric's name as a heading that can be broken into lines."""
    return metric.replace("_", " ")


def estimate_cell(value: Interval | Estimate | None) -> Cell:
    """A number with its interval, or a dash."""
    if value is None:
        return Cell("–")
    return Cell(number(value.value), ends(value), value.value)


def plain_cell(value: float | str | None) -> Cell:
    """A number as it stands, or text, or a dash."""
    if value is None:
        return Cell("–")
    if isinstance(value, str):
        return Cell(value)
    return Cell(f"{value:g}", order=value)


def overview(sweep: SweepResults) -> ReportTable:
    """All rows with the numbers to read first."""
    return ReportTable(
        title="All rows",
        note="One row per experiment. Below the numbers: 95 % intervals over prompts.",
        columns=["row", "loss", "β", "α", "lr", "seed", *map(spaced, OVERVIEW)],
        rows=[
            [
                *_setting(name, row),
                *(estimate_cell(row.metrics.get(metric)) for metric in OVERVIEW),
            ]
            for name, row in ordered(sweep).items()
        ],
    )


def every_metric(sweep: SweepResults) -> list[ReportTable]:
    """All rows again with every metric that was measured, one table per group."""
    measured = {name for row in sweep.rows.values() for name in row.metrics}
    groups = {
        str(group): [metric.name for metric in metrics_of(group) if metric.name in measured]
        for group in MetricGroup
    }
    return [
        ReportTable(
            title=title,
            note="",
            columns=["row", *map(spaced, names)],
            rows=[
                [Cell(name), *(estimate_cell(row.metrics.get(metric)) for metric in names)]
                for name, row in ordered(sweep).items()
            ],
        )
        for title, names in groups.items()
        if names
    ]


def _setting(name: str, row: RowResults) -> list[Cell]:
    params = row.params
    alpha = params.alpha if reads_alpha(params.loss) else None
    values = (params.beta, alpha, params.lr, params.seed)
    return [Cell(name), Cell(params.loss), *map(plain_cell, values)]


def over_seeds(standings: Sequence[Standing]) -> ReportTable:
    """One row per point: its numbers over seeds, and how it stands to the frontier."""
    return ReportTable(
        title="Points over seeds",
        note=(
            "One row per loss and β: the mean over seeds with its 95 % interval; for the reward"
            " difference also the standard deviation and the range over seeds. Beaten by: the best"
            " point that has as much reward for no more KL; behind: how much more it has."
        ),
        columns=[
            "point",
            "seeds",
            "reward difference",
            "over seeds",
            "KL",
            "judge difference",
            "on the frontier",
            "beaten by",
            "behind",
            "more than noise?",
        ],
        rows=[_point(standing) for standing in standings],
    )


def _point(standing: Standing) -> list[Cell]:
    point = standing.point
    seeds = len(point.seeds)
    share = f"{standing.seeds_on} of {seeds} {'seed' if seeds == 1 else 'seeds'}"
    return [
        Cell(point.label),
        plain_cell(seeds),
        estimate_cell(point.reward),
        spread(point.reward),
        estimate_cell(point.kl),
        estimate_cell(point.estimate("judge_difference")),
        Cell("yes" if standing.on else "no", share, standing.on + standing.seeds_on / seeds),
        Cell(standing.rival or "–"),
        estimate_cell(standing.gap),
        Cell("–" if standing.on else "yes" if standing.beaten else "within noise"),
    ]


def spread(estimate: Estimate) -> Cell:
    """Standard deviation over seeds, and their range."""
    if estimate.spread is None:
        return Cell("one seed")
    low, high = min(estimate.values), max(estimate.values)
    return Cell(f"± {number(estimate.spread)}", f"{number(low)} to {number(high)}", estimate.spread)


def pairs(curve_pairs: Sequence[CurvePair]) -> ReportTable:
    """One row per pair of losses: their difference at equal KL."""
    return ReportTable(
        title="Losses at equal KL",
        note=(
            "The first loss's reward less the second's, each interpolated over KL between its β"
            " values and averaged over the range of KL that both reach in every seed."
        ),
        columns=["first", "second", "KL range", "difference", "single seeds", "more than noise?"],
        rows=[_pair(pair) for pair in curve_pairs],
    )


def _pair(pair: CurvePair) -> list[Cell]:
    names = [Cell(pair.first), Cell(pair.second)]
    if pair.overlap is None:
        return [*names, Cell("none in common"), Cell("–"), Cell("–"), Cell("–")]
    low, high, difference = pair.overlap.low, pair.overlap.high, pair.overlap.difference
    return [
        *names,
        Cell(f"{number(low)} to {number(high)}", order=low),
        estimate_cell(difference),
        Cell(", ".join(map(number, difference.values))),
        Cell(f"yes: {pair.leader} is ahead" if pair.leader else "within noise"),
    ]


def at_levels(points: Sequence[Point]) -> ReportTable:
    """One row per loss: its interpolated reward at round values of KL."""
    by_curve = curves(points)
    kls = levels(by_curve)
    rows = [
        [Cell(name), *(estimate_cell(reward_at(curve, kl)) for kl in kls)]
        for name, curve in by_curve.items()
    ]
    return ReportTable(
        title="Reward difference at a given KL",
        note="Interpolated between a loss's β values; – where it does not reach that KL.",
        columns=["loss", *(f"KL {kl:g}" for kl in kls)],
        rows=rows if kls else [],
    )


def local(experiments: Sequence[dict]) -> ReportTable:
    """Finished local experiments that no results file has: eight numbers, no intervals."""
    columns = list(experiments[0]) if experiments else []
    return ReportTable(
        title="Local experiments",
        note=(
            "Finished here by DVC and in no results file: the headline numbers as DVC"
            " has them, without intervals, so nothing above rests on them."
        ),
        columns=columns,
        rows=[[plain_cell(row[name]) for name in columns] for row in experiments],
    )
