"""What the report says of one sweep; page and Markdown show the same."""

from dataclasses import dataclass

from experiments.report import findings, provenance, tables
from experiments.report.analysis import equal_kl, frontier
from experiments.report.analysis.points import curves, ordered, points
from experiments.report.analysis.sweep_results import Row, Sweep
from experiments.report.charts import panels, scatter
from experiments.report.charts.styles import Style
from experiments.report.charts.vega import Spec
from experiments.report.findings import Findings
from experiments.report.tables import Table


@dataclass(frozen=True)
class Picture:
    """A chart, and the name of its file."""

    name: str
    spec: Spec


@dataclass(frozen=True)
class RowSamples:
    """A row with the command that makes it again."""

    name: str
    command: str
    row: Row


@dataclass(frozen=True)
class Contents:
    """All of one sweep's part of the report, in reading order."""

    name: str
    study: str
    findings: Findings
    frontiers: list[Picture]
    comparison: list[Table]
    judge: list[Picture]
    training: list[Picture]
    rows: list[Table]
    samples: list[RowSamples]
    facts: list[tuple[str, str]]
    commands: list[str]

    @property
    def pictures(self) -> list[Picture]:
        return [*self.frontiers, *self.judge, *self.training]


def contents(sweep: Sweep, look: dict[str, Style]) -> Contents:
    """Everything computed from a sweep's rows. `look` has a style for each of its losses."""
    found = points(sweep)
    standings = frontier.standings(found)
    pairs = equal_kl.compare(curves(found))
    plans = {
        plan.name: Picture(
            f"{sweep.sweep}-{plan.name}", scatter.scatter(sweep.sweep, found, look, plan)
        )
        for plan in scatter.PLANS
    }
    judge = plans.pop("judge")
    calibration = Picture(f"{sweep.sweep}-calibration", panels.calibration(sweep.sweep, found))
    training = [
        Picture(f"{sweep.sweep}-{quantity}", panels.training(sweep.sweep, found, quantity))
        for quantity in panels.CURVES
    ]
    return Contents(
        name=sweep.sweep,
        study=sweep.study,
        findings=findings.findings(sweep, found, standings, pairs),
        frontiers=list(plans.values()),
        comparison=[
            tables.pairs(pairs),
            tables.at_levels(found),
            tables.over_seeds(standings),
        ],
        judge=[judge],
        training=[calibration, *training],
        rows=[tables.headline(sweep), *tables.every_metric(sweep)],
        samples=[
            RowSamples(name, provenance.row_command(sweep, row), row)
            for name, row in ordered(sweep).items()
        ],
        facts=provenance.facts(sweep),
        commands=provenance.commands(sweep),
    )
