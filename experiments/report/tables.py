"""The report's tables, as cells: the page and the Markdown show the same."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from experiments.report.analysis.equal_kl import Matched, levels, reward_at
from experiments.report.analysis.estimates import Estimate
from experiments.report.analysis.frontier import Standing
from experiments.report.analysis.points import Point, curves, ordered
from experiments.report.analysis.sweep_results import Interval, Row, Sweep
from experiments.report.text import ends, number

HEADLINE = (
    "reward_difference",
    "reward_win_rate",
    "judge_difference",
    "kl",
    "entropy",
    "distinct_2",
    "accuracy",
    "calibration_error",
)
GROUPS = {
    "Reward and judge": (
        "reward",
        "reward_reference",
        "reward_difference",
        "reward_win_rate",
        "judge",
        "judge_reference",
        "judge_difference",
        "judge_win_rate",
    ),
    "Divergence and diversity": (
        "kl",
        "kl_monte_carlo",
        "forward_kl_token_sum",
        "jsd_token_sum",
        "entropy",
        "unigram_entropy",
        "distinct_1",
        "distinct_2",
        "self_bleu",
    ),
}
REMAINDER = "Test pairs and texts"


@dataclass(frozen=True)
class Cell:
    """What a cell shows, an interval or the like below it, and what it is sorted by."""

    text: str
    detail: str = ""
    order: float | None = None


@dataclass(frozen=True)
class Table:
    title: str
    note: str
    columns: list[str]
    rows: list[list[Cell]] = field(default_factory=list)


def spaced(metric: str) -> str:
    """A metric's name as a heading that can be broken into lines."""
    return metric.replace("_", " ")


def cell(value: Interval | Estimate | None) -> Cell:
    if value is None:
        return Cell("–")
    return Cell(number(value.value), ends(value), value.value)


def amount(value: float | str | None) -> Cell:
    """A number as it stands, or text."""
    if value is None:
        return Cell("–")
    if isinstance(value, str):
        return Cell(value)
    return Cell(f"{value:g}", order=value)


def headline(sweep: Sweep) -> Table:
    """All rows with the numbers to read first."""
    return Table(
        title="All rows",
        note="A row an experiment. 95 % intervals over prompts below the numbers.",
        columns=["row", "loss", "β", "α", "lr", "seed", *map(spaced, HEADLINE)],
        rows=[
            [
                *_setting(name, row),
                *(cell(row.metrics.get(metric)) for metric in HEADLINE),
            ]
            for name, row in ordered(sweep).items()
        ],
    )


def every_metric(sweep: Sweep) -> list[Table]:
    """All rows again with every metric there is, by subject."""
    grouped = {name for group in GROUPS.values() for name in group}
    have = {name for row in sweep.rows.values() for name in row.metrics}
    groups = {
        title: [name for name in group if name in have] for title, group in GROUPS.items()
    } | {REMAINDER: sorted(have - grouped)}
    return [
        Table(
            title=title,
            note="",
            columns=["row", *map(spaced, names)],
            rows=[
                [Cell(name), *(cell(row.metrics.get(metric)) for metric in names)]
                for name, row in ordered(sweep).items()
            ],
        )
        for title, names in groups.items()
        if names
    ]


def _setting(name: str, row: Row) -> list[Cell]:
    params = row.params
    alpha = params.alpha if params.loss == "alpha" else None
    return [
        Cell(name),
        Cell(params.loss),
        amount(params.beta),
        amount(alpha),
        amount(params.lr),
        amount(params.seed),
    ]


def over_seeds(found: Sequence[Standing]) -> Table:
    """A row a point: its numbers over seeds, and how it stands to the frontier."""
    return Table(
        title="Points over seeds",
        note=(
            "A row a loss and β: mean over seeds with its 95 % interval; for the reward difference"
            " also the standard deviation and the range over seeds. Beaten by: the best point that"
            " has as much reward for no more KL; behind: how much more it has."
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
        rows=[_point(standing) for standing in found],
    )


def _point(standing: Standing) -> list[Cell]:
    point = standing.point
    seeds = len(point.seeds)
    share = f"{standing.seeds_on} of {seeds} {'seed' if seeds == 1 else 'seeds'}"
    return [
        Cell(point.label),
        amount(seeds),
        cell(point.reward),
        spread(point.reward),
        cell(point.kl),
        cell(point.estimate("judge_difference")),
        Cell("yes" if standing.on else "no", share, standing.on + standing.seeds_on / seeds),
        Cell(standing.rival or "–"),
        cell(standing.gap),
        Cell("–" if standing.on else verdict(standing.beaten)),
    ]


def spread(estimate: Estimate) -> Cell:
    if estimate.spread is None:
        return Cell("one seed")
    low, high = min(estimate.values), max(estimate.values)
    return Cell(f"± {number(estimate.spread)}", f"{number(low)} to {number(high)}", estimate.spread)


def verdict(apart: bool) -> str:
    return "yes" if apart else "within noise"


def pairs(matched: Sequence[Matched]) -> Table:
    """A row a pair of losses: their difference at equal KL."""
    return Table(
        title="Losses at equal KL",
        note=(
            "The first loss's reward less the second's, each interpolated over KL between its β"
            " values and averaged over the range of KL that both reach in every seed."
        ),
        columns=["first", "second", "KL range", "difference", "single seeds", "more than noise?"],
        rows=[_pair(pair) for pair in matched],
    )


def _pair(pair: Matched) -> list[Cell]:
    names = [Cell(pair.first), Cell(pair.second)]
    if pair.difference is None:
        return [*names, Cell("none in common"), Cell("–"), Cell("–"), Cell("–")]
    seeds = ", ".join(map(number, pair.difference.values))
    ahead = f"yes: {pair.leader} is ahead" if pair.leader else "within noise"
    kls = Cell(f"{number(pair.low_kl)} to {number(pair.high_kl)}", order=pair.low_kl)
    return [*names, kls, cell(pair.difference), Cell(seeds), Cell(ahead)]


def at_levels(points: Sequence[Point]) -> Table:
    """A row a loss: its interpolated reward at round values of KL."""
    grouped = curves(points)
    kls = levels(grouped)
    return Table(
        title="Reward difference at a given KL",
        note="Interpolated between a loss's β values; – where it does not reach that KL.",
        columns=["loss", *(f"KL {kl:g}" for kl in kls)],
        rows=[
            [Cell(name), *(cell(reward_at(own, kl)) for kl in kls)] for name, own in grouped.items()
        ]
        if kls
        else [],
    )


def local(experiments: Sequence[dict]) -> Table:
    """Finished local experiments that no results file has: eight numbers, no intervals."""
    columns = list(experiments[0]) if experiments else []
    return Table(
        title="Local experiments",
        note=(
            "Finished here by DVC and in no results file: the headline numbers as DVC"
            " has them, without intervals, so nothing above rests on them."
        ),
        columns=columns,
        rows=[[amount(row[name]) for name in columns] for row in experiments],
    )
