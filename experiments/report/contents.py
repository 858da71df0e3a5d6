"""What the report says of one sweep; page and Markdown show the same."""

from collections.abc import Sequence
from dataclasses import dataclass

from experiments.report import findings, provenance, tables
from experiments.report.analysis.evidence import Evidence, gather
from experiments.report.analysis.matched import sample_differences
from experiments.report.analysis.nested import resampled
from experiments.report.analysis.over_optimisation import ceiling_shares
from experiments.report.analysis.points import Point, curves, ordered
from experiments.report.analysis.verdict import PairVerdict
from experiments.report.charts import forest, panels, scatter
from experiments.report.charts.styles import Style
from experiments.report.charts.vega import Spec
from experiments.report.findings import Findings
from experiments.report.tables import ReportTable
from experiments.sweep.results import RowResults, SweepResults
from fdpo.core.randomness import streams_of
from fdpo.baselines.intervals import Interval


@dataclass(frozen=True)
class Picture:
    """A chart, and the name of its file; `phone` is the page's where the window is narrow."""

    name: str
    spec: Spec
    phone: Spec | None = None

    @property
    def description(self) -> str:
        """What it shows, for who cannot see it."""
        return self.spec["description"]


@dataclass(frozen=True)
class RowSamples:
    """A row with the command that makes it again."""

    name: str
    command: str
    row: RowResults


@dataclass(frozen=True)
class Contents:
    """All of one sweep's part of the report, in reading order."""

    name: str
    study: str
    findings: Findings
    pairs: Picture
    frontiers: list[Picture]
    comparison: list[ReportTable]
    judge: list[Picture]
    training: list[Picture]
    rows: list[ReportTable]
    samples: list[RowSamples]
    facts: list[tuple[str, str]]
    commands: list[str]

    @property
    def pictures(self) -> list[Picture]:
        """All pictures, in the order of the page."""
        return [self.pairs, *self.frontiers, *self.judge, *self.training]


def contents(sweep: SweepResults, style_by_curve: dict[str, Style]) -> Contents:
    """Everything computed from a sweep's rows, each of whose losses has a style."""
    name = sweep.sweep
    evidence = gather(sweep)
    sweep_points = evidence.points

    def drawn(plot: scatter.ScatterPlot) -> Spec:
        return scatter.scatter(name, sweep_points, style_by_curve, plot, evidence.baselines)

    scatters = {
        plot.name: Picture(f"{name}-{plot.name}", drawn(plot), drawn(scatter.for_phones(plot)))
        for plot in scatter.SCATTER_PLOTS
        if plot.name != "judge" or all(point.judged for point in sweep_points)
    }
    judge = [scatters.pop("judge")] if "judge" in scatters else []
    calibration = Picture(f"{name}-calibration", panels.calibration(name, sweep_points))
    training = [
        Picture(f"{name}-{quantity}", panels.training(name, sweep_points, quantity))
        for quantity in panels.CURVE_TITLES
    ]
    return Contents(
        name=name,
        study=sweep.study,
        findings=findings.findings(evidence),
        pairs=Picture(f"{name}-pairs", forest.forest(name, evidence.by_reward, evidence.margin)),
        frontiers=list(scatters.values()),
        comparison=_comparison(evidence),
        judge=judge,
        training=[calibration, *training],
        rows=[tables.overview(sweep), *tables.every_metric(sweep)],
        samples=[
            RowSamples(name, provenance.row_command(sweep, row), row)
            for name, row in ordered(sweep).items()
        ],
        facts=provenance.facts(sweep),
        commands=provenance.commands(sweep),
    )


def _comparison(evidence: Evidence) -> list[ReportTable]:
    """The tables of losses compared; those that the rows give nothing for are left out."""
    sweep_points = evidence.points
    by_curve = curves(sweep_points)
    every = [
        tables.pairs(evidence.by_reward, _resampled(by_curve, evidence.by_reward)),
        tables.matches(evidence.comparisons),
        tables.at_levels(sweep_points),
        tables.along_kl(evidence.along_kl, ceiling_shares(by_curve), sweep_points),
        tables.without_training(evidence.baselines, sweep_points),
        tables.published(evidence.published),
    ]
    return [*(table for table in every if table.rows), tables.over_seeds(evidence.standings)]


def _resampled(
    by_curve: dict[str, list[Point]], verdicts: Sequence[PairVerdict]
) -> list[Interval | None]:
    """Each pair's interval by hierarchical resampling, of pairs with three seeds or more."""
    streams = streams_of(0)
    intervals: list[Interval | None] = []
    for verdict in verdicts:
        pair = verdict.pair
        samples = sample_differences(by_curve, pair) if verdict.p is not None else None
        rng = streams("resampled", pair.first, pair.second)
        intervals.append(None if samples is None else resampled(samples, rng))
    return intervals
