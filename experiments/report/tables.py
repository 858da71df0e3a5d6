"""The report's tables, as text: the page and the Markdown show the same."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.special import comb

from experiments.report.compare import LEVELS, permutation_ps
from experiments.report.evidence import AXES, Evidence, Level, stream_of
from experiments.report.points import Point, optimised, over_seeds
from experiments.report.text import interval, number, with_ends
from fdpo.evaluation.metric_registry import OVERVIEW_METRICS

KS = (1, 2, 4)  # of best-of-k
OVERVIEW = tuple(metric.name for metric in OVERVIEW_METRICS)
OPTIMISED = {True: "yes", False: "no", None: "unknown"}


@dataclass(frozen=True)
class Table:
    """A table with its title and a note on how to read it."""

    title: str
    note: str
    columns: list[str]
    rows: list[list[str]] = field(default_factory=list)


def title_of(metric: str) -> str:
    """A metric's name as people read it."""
    return metric.replace("_", " ")


def pairs(level: Level) -> Table:
    """Every pair of losses at one KL."""
    ps = permutation_ps(level.scores, stream_of(level.score, level.axis, level.kl))
    return Table(
        title=f"Pairs of losses by {title_of(level.score)} at a {level.at}",
        note="The first loss minus the second, over their common seeds, with intervals that hold"
        " for all pairs at once (95 %). Beside them p by permutation within seeds, corrected for"
        " all pairs too; it takes equal noise for granted.",
        columns=["pair", "difference", "seeds", "outcome", "p"],
        rows=[
            [
                pair.name,
                with_ends(pair.value, pair.low, pair.high),
                str(pair.seeds),
                f"{pair.leader} ahead" if pair.leader else pair.outcome,
                f"{p:.4f}" if (p := ps.get((pair.first, pair.second))) else "–",
            ]
            for pair in level.differences
        ],
    )


def omnibus(evidence: Evidence) -> Table:
    """The test of no difference between losses at every level, a row for each score."""
    found = {
        (title_of(level.score), level.at): "{:.4f}, {:.2g} ({}, {})".format(*level.omnibus)
        for level in evidence.levels
        if level.omnibus
    }
    levels = list(dict.fromkeys(at for _, at in found))
    return Table(
        title="Do losses differ at all?",
        note="p of no difference between losses: by exchanging labels within seeds, which takes"
        " equal noise for granted, then by turning the signs of whole seeds, which does not, and"
        " has no p below 2^(1 − seeds). In brackets, the losses and the seeds that all of them"
        " have.",
        columns=["score", *levels],
        rows=[
            [score, *(found.get((score, at), "–") for at in levels)]
            for score in dict.fromkeys(score for score, _ in found)
        ],
    )


def beside_first(evidence: Evidence) -> Table:
    """Each loss's reward minus the first's at every KL."""
    first, *others = evidence.curves
    levels = evidence.by_kl
    found = {
        (pair.first, level.kl): f"{with_ends(pair.value, pair.low, pair.high)} ({pair.seeds})"
        for level in levels
        for pair in (one.swapped for one in level.differences)
        if pair.second == first
    }
    return Table(
        title=f"Reward beside {first} at equal KL",
        note=f"Each loss minus {first}, with intervals that hold for all pairs of losses at a KL at"
        " once (95 %); in brackets, the seeds in common.",
        columns=["loss", *(f"KL {level.kl:g}" for level in levels)],
        rows=[[loss, *(found.get((loss, one.kl), "–") for one in levels)] for loss in others],
    )


def by_seed(level: Level) -> Table:
    """What each loss has in each seed, which the pairs' differences are taken of."""
    seeds = sorted(set().union(*level.scores.values()))
    return Table(
        title=f"{title_of(level.score).capitalize()} by seed at a {level.at}",
        note="A dash where a loss's rows do not reach it, or did not optimise.",
        columns=["loss", *map(str, seeds)],
        rows=[
            [loss, *(number(by[seed]) if seed in by else "–" for seed in seeds)]
            for loss, by in level.scores.items()
        ],
    )


def best_of(evidence: Evidence) -> Table:
    """What the best of k samples of a policy has over the reference's mean reward."""
    sweep, rows = evidence.sweep, []
    for point in evidence.points:
        gains = [
            [
                best_of_k(values, k) - float(np.mean(sweep.references[row.reference].reward))
                for k in KS
            ]
            for row in point.rows.values()
            if (values := (row.heldout or {}).get("reward")) and row.reference
        ]
        if gains:
            of_ks = map(over_seeds, zip(*gains, strict=True))
            rows.append([point.label, *map(interval, of_ks)])
    return Table(
        title="Best of k samples of the policy",
        note="Mean reward of the best of k samples, above that of the reference's single samples;"
        " from four samples per prompt, over all choices of k of them. 95 % intervals over seeds.",
        columns=["point", *(f"best of {k}" for k in KS)],
        rows=rows,
    )


def best_of_k(values: Sequence[Sequence[float]], k: int) -> float:
    """The mean over prompts of the expected best of k of a prompt's samples, [prompts, samples]."""
    ranked = np.sort(np.array(values), axis=1)
    ranks = np.arange(ranked.shape[1])
    return float((ranked @ (comb(ranks, k - 1) / comb(len(ranks), k))).mean())


def by_level(evidence: Evidence, axis: str, score: str) -> Table:
    """Every loss's score at each KL, over the seeds that reach it."""
    levels = [level for level in evidence.levels if (level.axis, level.score) == (axis, score)]
    found = {level.kl: level.scores for level in levels}
    kls = [kl for kl in LEVELS[axis] if kl in found]
    rows = []
    for curve in evidence.curves:
        cells = []
        for kl in kls:
            by_seed = found[kl].get(curve, {})
            cells.append(
                f"{interval(over_seeds(by_seed.values()))} ({len(by_seed)})" if by_seed else "–"
            )
        rows.append([curve, *cells])
    return Table(
        title=f"{title_of(score).capitalize()} at equal {AXES[axis]}",
        note="Interpolated within each seed, over √KL or the reward; 95 % intervals over seeds,"
        " which are not corrected for how many losses there are; in brackets, the seeds that"
        " reach it.",
        columns=["loss", *(f"{AXES[axis]} {kl:g}" for kl in kls)],
        rows=rows,
    )


def over_points(evidence: Evidence) -> Table:
    """One row per loss and β."""
    names = [
        name
        for name in OVERVIEW
        if name in evidence.sweep.rows[next(iter(evidence.sweep.rows))].metrics
    ]
    return Table(
        title="Points over seeds",
        note="The mean over seeds with its 95 % interval. Optimised: in how many of the seeds the"
        " capped loss of the test pairs ended below its start; rows that did not are in no"
        " comparison.",
        columns=["point", "seeds", "optimised", *map(title_of, names)],
        rows=[
            [
                point.label,
                str(len(point.rows)),
                _share_optimised(point),
                *(interval(point.mean(name)) for name in names),
            ]
            for point in evidence.points
        ],
    )


def _share_optimised(point: Point) -> str:
    found = [optimised(row) for row in point.rows.values()]
    return "unknown" if None in found else f"{found.count(True)} of {len(found)}"


def all_rows(evidence: Evidence) -> Table:
    """Every row with the numbers to read first."""
    rows = []
    for point in evidence.points:
        for seed, row in point.rows.items():
            cells = (interval(row.metrics.get(name)) for name in OVERVIEW)
            setting = [point.label, f"{row.params.lr:g}", str(seed), OPTIMISED[optimised(row)]]
            rows.append([*setting, *cells])
    return Table(
        title="All rows",
        note="One row per experiment, with 95 % intervals over prompts.",
        columns=["point", "lr", "seed", "optimised", *map(title_of, OVERVIEW)],
        rows=rows,
    )
