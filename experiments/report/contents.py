"""What the report says of one sweep; page and Markdown show the same."""

from dataclasses import dataclass

from experiments.report import findings, provenance, tables
from experiments.report.analysis import equal_kl, frontier
from experiments.report.analysis.points import curves, ordered, points
from experiments.report.charts import forest, panels, scatter
from experiments.report.charts.styles import Style
from experiments.report.charts.vega import Spec
from experiments.report.findings import Findings
from experiments.report.tables import ReportTable
from experiments.sweep.results import RowResults, SweepResults


@dataclass(frozen=True)
class Picture:
    """A chart, and the name of its file."""

    name: str
    spec: Spec

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
    sweep_points = points(sweep)
    standings = frontier.standings(sweep_points)
    pairs = equal_kl.compare(curves(sweep_points))
    scatters = {
        plot.name: Picture(
            f"{name}-{plot.name}", scatter.scatter(name, sweep_points, style_by_curve, plot)
        )
        for plot in scatter.SCATTER_PLOTS
    }
    judge = scatters.pop("judge")
    calibration = Picture(f"{name}-calibration", panels.calibration(name, sweep_points))
    training = [
        Picture(f"{name}-{quantity}", panels.training(name, sweep_points, quantity))
        for quantity in panels.CURVE_TITLES
    ]
    return Contents(
        name=name,
        study=sweep.study,
        findings=findings.findings(sweep, sweep_points, standings, pairs),
        pairs=Picture(f"{name}-pairs", forest.forest(name, pairs)),
        frontiers=list(scatters.values()),
        comparison=[
            tables.pairs(pairs),
            tables.at_levels(sweep_points),
            tables.over_seeds(standings),
        ],
        judge=[judge],
        training=[calibration, *training],
        rows=[tables.overview(sweep), *tables.every_metric(sweep)],
        samples=[
            RowSamples(name, provenance.row_command(sweep, row), row)
            for name, row in ordered(sweep).items()
        ],
        facts=provenance.facts(sweep),
        commands=provenance.commands(sweep),
    )
