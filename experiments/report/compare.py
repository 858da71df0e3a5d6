"""Losses compared at equal KL: seeds are blocks, and all pairs of losses are one family.

The estimand is a score at a fixed KL(π‖π_ref), or at a fixed forward KL(π_ref‖π) or reward. In
each seed a curve is interpolated between its rows over √KL, along which reward is near a line (Gao
et al., arXiv 2210.10760, for RL), from the reference at KL 0. A pair of losses differs by the mean
over seeds of its paired differences.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import combinations, product
from typing import Literal, NamedTuple

import numpy as np
from scipy.optimize import brentq
from scipy.stats import chi2, nct, t

from experiments.report.points import SEEDS_FOR_SPREAD, Point, optimised
from experiments.sweep.results import RowResults
from fdpo.core.randomness import stream

# What is held equal, and where: nats of KL, and reward gained.
LEVELS = {
    "kl": (1.0, 2.0, 4.0, 8.0),
    "forward_kl": (1.0, 2.0, 4.0, 8.0),
    "reward_difference": (0.2, 0.4),
}
ERROR = 0.05  # chance of any false "ahead" among all pairs of losses at one KL
MARGIN = 0.1  # standard deviations of the reference's score within which losses are equivalent
POWER = 0.8
PERMUTATIONS = 9_999
MOST_SEEDS_TURNED = 16  # whose every choice of signs is tried

Outcome = Literal["ahead", "equivalent", "undecided", "too few seeds"]
Scores = Mapping[str, Mapping[int, float]]  # by curve and seed


@dataclass(frozen=True)
class Difference:
    """A pair of losses at one KL: the first's score minus the second's.

    `low` and `high` are simultaneous over all pairs; None with fewer than three seeds in common.
    """

    first: str
    second: str
    value: float
    low: float | None
    high: float | None
    seeds: int
    outcome: Outcome

    @property
    def name(self) -> str:
        """Both losses."""
        return f"{self.first} − {self.second}"

    @property
    def swapped(self) -> "Difference":
        """The second loss's score minus the first's."""
        low = None if self.high is None else -self.high
        high = None if self.low is None else -self.low
        return replace(
            self, first=self.second, second=self.first, value=-self.value, low=low, high=high
        )

    @property
    def leader(self) -> str | None:
        """The loss that is ahead."""
        if self.outcome != "ahead":
            return None
        return self.first if self.value > 0 else self.second


def estimate(row: RowResults, score: str) -> float:
    """A row's score: with its control variate where it has one, which has the same expectation."""
    return row.metrics.get(f"{score}_adjusted", row.metrics[score]).value


def score_at(rows: Sequence[RowResults], kl: float, score: str, axis: str = "kl") -> float | None:
    """A curve's score at one KL in one seed, or None where its rows do not reach that KL.

    rows: the seed's rows of the curve. A score that ends in "difference" is 0 at KL 0. axis: the
    metric that is held equal, of `LEVELS`; over a reward the line is one over the reward itself.
    """
    known = {estimate(row, axis): estimate(row, score) for row in rows}
    if score.endswith("_difference"):
        known[0.0] = 0.0
    places = sorted(known)
    if len(places) < 2 or not places[0] <= kl <= places[-1]:
        return None
    values = [known[place] for place in places]
    if axis.endswith("kl"):  # a forward KL near 0 may be estimated below it
        return float(np.interp(kl**0.5, np.sqrt(np.clip(places, 0, None)), values))
    return float(np.interp(kl, places, values))


def scores_at(
    curves: Mapping[str, Sequence[Point]], kl: float, score: str, axis: str = "kl"
) -> Scores:
    """Every curve's score at one KL, by seed; rows that did not optimise are left out."""
    found: dict[str, dict[int, float]] = {}
    for name, points in curves.items():
        for seed in sorted({seed for point in points for seed in point.rows}):
            rows = [point.rows[seed] for point in points if seed in point.rows]
            kept = [row for row in rows if optimised(row) is not False]
            value = score_at(kept, kl, score, axis)
            if value is not None:
                found.setdefault(name, {})[seed] = value
    return found


@cache
def critical_value(pairs: int, seeds: int) -> float:
    """How many standard errors a simultaneous interval reaches to each side.

    Student's t with the pair's own degrees of freedom, by Bonferroni for so many pairs. It holds
    where losses differ in noise and in seeds, as they do; Tukey's pooled spread and the
    studentized range with own spreads (Games and Howell) do not (benchmarks/verdict.py).
    """
    return float(t.ppf(1 - ERROR / (2 * pairs), seeds - 1))


def compare(scores: Scores, margin: float | None) -> list[Difference]:
    """Every pair of curves that share a seed; `margin` is in units of the score."""
    paired = paired_differences(scores)
    tested = sum(len(values) >= SEEDS_FOR_SPREAD for values in paired.values())
    found = []
    for (first, second), values in paired.items():
        value, low, high, seeds = float(values.mean()), None, None, len(values)
        outcome: Outcome = "too few seeds"
        if seeds >= SEEDS_FOR_SPREAD:
            reach = critical_value(tested, seeds) * float(values.std(ddof=1)) / seeds**0.5
            low, high = value - reach, value + reach
            outcome = _outcome(low, high, margin)
        found.append(Difference(first, second, value, low, high, seeds, outcome))
    return found


def paired_differences(scores: Scores) -> dict[tuple[str, str], np.ndarray]:
    """The first loss's score minus the second's in each seed of both, for pairs that share one."""
    shared = {
        (first, second): sorted(scores[first].keys() & scores[second].keys())
        for first, second in combinations(scores, 2)
    }
    return {
        (first, second): np.array([scores[first][seed] - scores[second][seed] for seed in seeds])
        for (first, second), seeds in shared.items()
        if seeds
    }


def _outcome(low: float, high: float, margin: float | None) -> Outcome:
    if low > 0 or high < 0:
        return "ahead"
    if margin is not None and -margin < low and high < margin:
        return "equivalent"
    return "undecided"


class Omnibus(NamedTuple):
    """Two p of no difference between losses, and how many losses and seeds they rest on."""

    p: float
    by_signs: float
    losses: int
    seeds: int

    @property
    def least(self) -> float:
        """The least that `by_signs` can be."""
        return 2 / 2**self.seeds if self.seeds <= MOST_SEEDS_TURNED else 1 / (PERMUTATIONS + 1)


def omnibus(scores: Scores, name: str) -> Omnibus | None:
    """Tests whether losses differ at all, those of `common_block` in its seeds.

    The F statistic of a randomised block design. `p` is by exchanging the losses' labels within
    each seed, which takes equal noise for granted. `by_signs` is by turning the sign of all that a
    seed says of the losses, over all 2^seeds choices, or of many seeds a draw: losses may differ in
    noise, only symmetry is taken for granted, and there is no p below 2^(1 − seeds). None where
    there is no such block. `name` names the random stream.
    """
    if (block := common_block(scores)) is None:
        return None
    _, table = block
    observed = float((table.mean(axis=0) ** 2).sum())
    drawn = (_exchanged(table, name).mean(axis=1) ** 2).sum(axis=1)
    if len(table) <= MOST_SEEDS_TURNED:
        signs = np.array(list(product((1, -1), repeat=len(table)))[1:])  # the first turns none
    else:
        signs = stream(0, "signs", name).choice((1, -1), size=(PERMUTATIONS, len(table)))
    turned = ((signs @ table / len(table)) ** 2).sum(axis=1)
    return Omnibus(_share(drawn, observed), _share(turned, observed), *table.T.shape)


def permutation_ps(scores: Scores, name: str) -> dict[tuple[str, str], float]:
    """p of each pair of the omnibus test's losses by permutation, corrected for all of them.

    The share of exchanges of labels within seeds in which the largest |t| of any pair reaches the
    pair's own (Westfall and Young's maxT). A check beside `compare`, which does not need that
    losses have equal noise.
    """
    if (block := common_block(scores)) is None:
        return {}
    names, table = block
    pairs = list(combinations(range(len(names)), 2))

    def t_of(tables: np.ndarray) -> np.ndarray:  # [..., seeds, losses] to [pairs, ...]
        differences = np.array([tables[..., i] - tables[..., j] for i, j in pairs])
        errors = differences.std(axis=-1, ddof=1) / len(table) ** 0.5
        return abs(differences.mean(axis=-1)) / np.maximum(errors, np.finfo(float).tiny)

    largest = t_of(_exchanged(table, name)).max(axis=0)
    ps = (_share(largest, float(observed)) for observed in t_of(table))
    return {(names[i], names[j]): p for (i, j), p in zip(pairs, ps, strict=True)}


def common_block(scores: Scores) -> tuple[list[str], np.ndarray] | None:
    """Losses, and what they have in their common seeds, less the seed's mean.

    They are those with at least so many seeds that (losses − 1)·(seeds − 1) is largest: one loss
    that seldom reaches a KL would leave few seeds to all. The table is [seeds, losses]; None where
    there are fewer than two losses or three seeds.
    """
    names: list[str] = []
    common: set[int] = set()
    for least in sorted({len(by) for by in scores.values()}):
        found = [name for name, by in scores.items() if len(by) >= least]
        seeds = set.intersection(*(set(scores[name]) for name in found))
        enough = len(seeds) >= SEEDS_FOR_SPREAD
        if enough and (len(found) - 1) * (len(seeds) - 1) > (len(names) - 1) * (len(common) - 1):
            names, common = found, seeds
    if not names:
        return None
    table = np.array([[scores[name][seed] for name in names] for seed in sorted(common)])
    return names, table - table.mean(axis=1, keepdims=True)


def _exchanged(table: np.ndarray, name: str) -> np.ndarray:
    """[permutations, seeds, losses]: labels exchanged within each seed."""
    rng = stream(0, "omnibus", name)
    return rng.permuted(np.broadcast_to(table, (PERMUTATIONS, *table.shape)), axis=2)


def _share(permuted: np.ndarray, observed: float) -> float:
    """The share that reaches the observed value, which counts as a permutation itself."""
    return (1 + int((permuted >= observed * (1 - 1e-12)).sum())) / (len(permuted) + 1)


def power(difference: float, spread: float, pairs: int, seeds: int) -> float:
    """The chance that a pair with this true difference is found.

    spread: the standard deviation over seeds of the paired difference. Noncentral t of the very
    procedure; benchmarks/verdict.py simulates it.
    """
    reach, df, shift = critical_value(pairs, seeds), seeds - 1, difference * seeds**0.5 / spread
    return float(nct.sf(reach, df, shift) + np.nan_to_num(nct.cdf(-reach, df, shift)))


def smallest_found(scores: Scores) -> tuple[float, int] | None:
    """The difference that is found with 80 % power by the pairs with the most seeds, and those.

    On average over these pairs, whose spreads are their own, and over sweeps: an estimate of the
    spread is as often too small as too great, but costs more power where it is too small. None
    where no pair has three seeds.
    """
    paired = {
        pair: values
        for pair, values in paired_differences(scores).items()
        if len(values) >= SEEDS_FOR_SPREAD
    }
    if not paired:
        return None
    seeds = max(map(len, paired.values()))
    spreads = {pair: v.std(ddof=1) for pair, v in paired.items() if len(v) == seeds}
    freedom = (len({loss for pair in spreads for loss in pair}) - 1) * (seeds - 1)
    size = _found(np.array(list(spreads.values())), len(paired), seeds)
    return size * _for_estimating(freedom, len(paired), seeds), seeds


def _found(spreads: np.ndarray, pairs: int, seeds: int) -> float:
    """The difference found with 80 % power on average over `spreads`."""
    sizes, powers = _power_curve(pairs, seeds)

    def missing(size: float) -> float:
        return float(np.interp(size / spreads, sizes, powers).mean()) - POWER

    return float(brentq(missing, 0.0, sizes[-1] * spreads.max()))


@cache
def _power_curve(pairs: int, seeds: int) -> tuple[np.ndarray, np.ndarray]:
    """Differences in units of the spread, and their power."""
    sizes = np.concatenate([[0.0], np.geomspace(0.01, 100, 300)])
    return sizes, np.array([power(size, 1.0, pairs, seeds) for size in sizes])


@cache
def _for_estimating(freedom: int, pairs: int, seeds: int) -> float:
    """How much greater a difference must be, as its spread is known from so many degrees."""
    estimates = (chi2.ppf((np.arange(500) + 0.5) / 500, freedom) / freedom) ** 0.5
    return _found(1 / estimates, pairs, seeds) / _found(np.ones(1), pairs, seeds)
