"""The report's tables, as cells: the page and the Markdown show the same."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from experiments.report.analysis.baselines import BaselinePoint, best_at
from experiments.report.analysis.comparisons import Comparisons
from experiments.report.analysis.estimates import Estimate
from experiments.report.analysis.frontier import Standing
from experiments.report.analysis.matched import levels, reward_at
from experiments.report.analysis.over_optimisation import OverOptimisation
from experiments.report.analysis.points import Point, curves, ordered, reads_alpha
from experiments.report.analysis.verdict import MOST_SEEDS, PairVerdict
from experiments.report.text import ends, number
from experiments.sweep.results import RowResults, SweepResults
from fdpo.evaluation.metric_registry import OVERVIEW_METRICS, MetricGroup, metrics_of
from fdpo.baselines.intervals import Interval

MATCH_TITLES = {"kl": "KL", "entropy": "entropy", "distinct_2": "distinct-2"}
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
            *(["judge difference"] if all(s.point.judged for s in standings) else []),
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
        *([estimate_cell(point.estimate("judge_difference"))] if point.judged else []),
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


def pairs(verdicts: Sequence[PairVerdict], resampled: Sequence[Interval | None]) -> ReportTable:
    """One row per pair of losses: their difference at equal KL, and what it says.

    resampled: each pair's interval by hierarchical resampling, or None.
    """
    return ReportTable(
        title="Losses at equal KL",
        note=(
            "The first loss's reward less the second's, each interpolated over KL between its β"
            " values and averaged over the range of KL that both reach in every seed; by seed: over"
            " each seed's own, where seeds have none in common. Ahead: more than noise by Holm's"
            " correction (p). Equivalent: the 90 % interval lies within the margin. Resampled: the"
            " interval of seeds, prompts and samples drawn again, which of few seeds is too narrow"
            " where training is noisy, so nothing rests on it."
        ),
        columns=[
            "first",
            "second",
            "KL range",
            "difference",
            "single seeds",
            "resampled",
            "p",
            "outcome",
            "seeds to decide",
        ],
        rows=[_pair(*row) for row in zip(verdicts, resampled, strict=True)],
    )


def _pair(verdict: PairVerdict, resampled: Interval | None) -> list[Cell]:
    names = [Cell(verdict.pair.first), Cell(verdict.pair.second)]
    overlap, difference = verdict.pair.overlap, verdict.difference
    if overlap is None or difference is None:
        return [*names, Cell("none in common"), *[Cell("–")] * 6]
    seeds = verdict.seeds_needed
    open_pair = verdict.outcome == "undecided" and verdict.p is not None
    span = f"{number(overlap.low)} to {number(overlap.high)}"
    return [
        *names,
        Cell(span if overlap.is_shared else f"{span}, by seed", order=overlap.low),
        estimate_cell(difference),
        Cell(", ".join(map(number, difference.values))),
        Cell("–") if resampled is None else Cell(ends(resampled), order=resampled.low),
        Cell("–") if verdict.p is None else Cell(number(verdict.p), order=verdict.p),
        Cell(outcome(verdict)),
        Cell(str(seeds), order=seeds) if seeds else Cell(f"> {MOST_SEEDS}" if open_pair else "–"),
    ]


def outcome(verdict: PairVerdict) -> str:
    """`sigmoid ahead`, or what else came out."""
    return f"{verdict.leader} ahead" if verdict.leader else verdict.outcome


def matches(comparisons: Comparisons) -> ReportTable:
    """One row per pair of losses: reward and judge at equal KL, entropy and distinct-2."""
    return ReportTable(
        title="By reward and by judge, at equal KL, entropy and distinct-2",
        note=(
            "The first loss's score less the second's with its 95 % interval, and the outcome by"
            " the same rules as above. Entropy and distinct-2 are matched within each seed."
        ),
        columns=[
            "first",
            "second",
            *(f"{score} at equal {MATCH_TITLES[by]}" for score, by in comparisons),
        ],
        rows=[
            [Cell(row[0].pair.first), Cell(row[0].pair.second), *map(_match, row)]
            for row in zip(*comparisons.values(), strict=True)
        ],
    )


def _match(verdict: PairVerdict) -> Cell:
    difference = verdict.difference
    if difference is None:
        return Cell("–")
    detail = f"{ends(difference)} {outcome(verdict)}"
    return Cell(number(difference.value), detail, difference.value)


def along_kl(
    curves_along: Sequence[OverOptimisation],
    ceilings: dict[str, float],
    points: Sequence[Point],
) -> ReportTable:
    """One row per loss: how reward and judge go on with KL, and what training displaced."""
    farthest = {
        name: max(curve, key=lambda point: point.kl.value) for name, curve in curves(points).items()
    }
    return ReportTable(
        title="As KL grows",
        note=(
            "Peak: where √KL·(a − b·√KL) (arXiv 2210.10760), fitted to the loss's points, has its"
            " highest value; – where it does not turn down before the largest KL. Last step: the"
            " change from the point of second largest KL to that of the largest. At the top: the"
            " share of samples there with the sweep's highest reward, which tells of a ceiling."
            " Log-probability: the mean change on test pairs there, in nats; below 0 for chosen"
            " completions it is called displacement."
        ),
        columns=[
            "loss",
            "largest KL",
            "reward's peak",
            "judge's peak",
            "last step, reward",
            "last step, judge",
            "at the top",
            "chosen log-probability",
            "rejected log-probability",
        ],
        rows=[
            [
                Cell(curve.curve),
                plain_number(curve.reached),
                plain_number(curve.peak_reached(curve.reward)),
                plain_number(curve.peak_reached(curve.judge)),
                estimate_cell(curve.last_step_reward),
                estimate_cell(curve.last_step_judge),
                plain_number(ceilings.get(curve.curve)),
                *(
                    measured_cell(farthest[curve.curve], name)
                    for name in ("chosen_logp_change", "rejected_logp_change")
                ),
            ]
            for curve in curves_along
        ],
    )


def plain_number(value: float | None) -> Cell:
    """A number as numbers with intervals are shown, or a dash."""
    return Cell("–") if value is None else Cell(number(value), order=value)


def measured_cell(point: Point, metric: str) -> Cell:
    """A metric of a point over seeds, or a dash where a row lacks it."""
    present = all(metric in row.metrics for row in point.rows.values())
    return estimate_cell(point.estimate(metric) if present else None)


def without_training(baselines: Sequence[BaselinePoint], points: Sequence[Point]) -> ReportTable:
    """One row per baseline: what it reaches, and what the best loss has at its KL."""
    by_curve = curves(points)
    rows = []
    for baseline in baselines:
        best = best_at(by_curve, baseline.kl.value)
        kl = estimate_cell(baseline.kl)
        rows.append(
            [
                Cell(baseline.label),
                Cell(kl.text, "at most", kl.order) if baseline.kl_is_bound else kl,
                estimate_cell(baseline.metrics.get("reward_difference")),
                estimate_cell(baseline.metrics.get("judge_difference")),
                Cell("–") if best is None else estimate_cell(best[1]),
                Cell("–" if best is None else best[0]),
            ]
        )
    return ReportTable(
        title="Without training",
        note=(
            "The reference at lower temperatures, and the best of n of its samples by reward, whose"
            " KL is at most log n − (n − 1)/n (arXiv 2401.01879); beside it the loss that has most"
            " reward at that KL."
        ),
        columns=["baseline", "KL", "reward difference", "judge difference", "best loss", "which"],
        rows=rows,
    )


def published(rows: Sequence[tuple[Point, float]]) -> ReportTable:
    """One row per row of the published table: its reward, and what came out here."""
    return ReportTable(
        title="Beside the published table",
        note=(
            "The table of somvy/slic-hf (docs/imdb.md) has another reference, reward and data, so"
            " only the order of its rows can be compared."
        ),
        columns=["row", "published reward", "reward difference here", "KL here"],
        rows=[
            [
                Cell(point.label),
                Cell(f"{reward:.2f}", order=reward),
                estimate_cell(point.reward),
                estimate_cell(point.kl),
            ]
            for point, reward in rows
        ],
    )


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
