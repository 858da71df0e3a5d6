"""Each pair of losses: one ahead, both equivalent, or undecided, and what would decide it.

Tests are Student's over seeds: where training is noisy, the resampling of few seeds calls chance a
difference too often, as `python -m experiments.report.simulation` shows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Literal

import numpy as np
from scipy.optimize import brentq
from scipy.stats import nct, t

from experiments.report.analysis.estimates import SEEDS_FOR_SPREAD, Estimate
from experiments.report.analysis.matched import CurvePair
from experiments.sweep.results import SweepResults
from fdpo.baselines.intervals import CONFIDENCE

Outcome = Literal["ahead", "equivalent", "undecided", "not compared"]

# Fixed before any sweep was run. In standard deviations of the reference's samples: a tenth of what
# two samples of one model differ by is too little to choose a loss for.
MARGIN = 0.1
ERROR = 0.05  # chance of a false "ahead" among all pairs; of a false "equivalent" for each pair
POWER = 0.8
MOST_SEEDS = 100  # beyond which nobody is told how many would decide


@dataclass(frozen=True)
class Design:
    """What the tests of all pairs of a sweep share.

    `spread` is the standard deviation over seeds of a pair's difference, pooled over the pairs, and
    `freedom` its degrees of freedom: those of losses by seeds less both means, as in a block
    design. `margin` is that of equivalence, in units of the score.
    """

    spread: float
    freedom: int
    tests: int
    margin: float | None

    @property
    def strictest(self) -> float:
        """The error that the first of Holm's tests allows."""
        return ERROR / self.tests


@dataclass(frozen=True)
class PairVerdict:
    """What a sweep says of two curves.

    `difference` is the first curve's score less the second's, with its 95 % interval; None where
    they have nothing in common. `p` is Holm's adjusted p-value of no difference, and `spread` what
    it rests on: None of fewer than three seeds.
    """

    pair: CurvePair
    outcome: Outcome
    difference: Estimate | None
    p: float | None = None
    spread: float | None = None
    design: Design | None = None

    @property
    def leader(self) -> str | None:
        """The curve that is ahead."""
        if self.outcome != "ahead" or self.difference is None:
            return None
        return self.pair.first if self.difference.value > 0 else self.pair.second

    @property
    def trailer(self) -> str | None:
        """The curve that is behind."""
        return {self.pair.first: self.pair.second, self.pair.second: self.pair.first}.get(
            self.leader or ""
        )

    @cached_property
    def seeds_needed(self) -> int | None:
        """How many seeds would decide an undecided pair 8 times in 10, were it as it seems.

        None where that is more than `MOST_SEEDS` or cannot be said.
        """
        if self.outcome != "undecided" or not (self.difference and self.spread and self.design):
            return None
        seeds, mean = len(self.difference.values), abs(self.difference.value)
        return _seeds_to_decide(seeds, mean, self.spread, self.design)


def reference_spread(sweep: SweepResults, score: Literal["reward", "judge"]) -> float | None:
    """The standard deviation of a score over the reference's held-out samples of one seed.

    The root of the mean variance over seeds; None where the samples were not kept, or the
    study has no such score.
    """
    samples = [getattr(one, score) for one in sweep.reference_by_seed.values()]
    variances = [np.var(values, ddof=1) for values in samples if values is not None]
    return float(np.mean(variances)) ** 0.5 if variances else None


def decide(pairs: Sequence[CurvePair], margin: float | None) -> list[PairVerdict]:
    """The outcome of each pair.

    Ahead: Student's test over seeds rejects no difference, by Holm's correction for all pairs that
    are tested, so that with no differences at all any is called ahead at most once in twenty. Its
    spread is the pair's own or that of all pairs, whichever is larger: three seeds alone say too
    little of a pair's spread, and a pair that is noisier than the others keeps its own.
    Equivalent: the 90 % interval lies within ±`margin`, which is two one-sided tests at 5 %, here
    with the degrees of freedom of the pair's own seeds, so that it holds however pairs differ.

    Args:
        pairs: two curves each, with their difference in every seed.
        margin: in units of the score; None calls no pair equivalent.
    """
    tested = [pair for pair in pairs if _seeds(pair) >= SEEDS_FOR_SPREAD]
    if not tested:
        return [_untested(pair) for pair in pairs]
    design = _design(tested, margin)
    spreads = {(pair.first, pair.second): max(_own_spread(pair), design.spread) for pair in tested}
    raw = [_p_value(pair, spreads[pair.first, pair.second], design) for pair in tested]
    adjusted = dict(zip(spreads, holm(raw), strict=True))
    return [
        _tested(pair, adjusted[names], spreads[names], design)
        if (names := (pair.first, pair.second)) in adjusted
        else _untested(pair)
        for pair in pairs
    ]


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values (Scand. J. Statist. 6, 1979), in the order given.

    Rejecting those up to 5 % makes any false rejection among all of them at most as likely.
    """
    order = np.argsort(p_values)
    steps = np.sort(p_values) * np.arange(len(p_values), 0, -1)
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return [float(value) for value in adjusted]


def _seeds(pair: CurvePair) -> int:
    return len(pair.overlap.ranges) if pair.overlap else 0


def _values(pair: CurvePair) -> np.ndarray:
    return np.array(pair.overlap.difference.values if pair.overlap else ())


@cache
def quantile(share: float, freedom: int) -> float:
    """Student's, of a share below it; cached, as a simulation asks for a few of them often."""
    return float(t.ppf(share, freedom))


def _own_spread(pair: CurvePair) -> float:
    return float(_values(pair).std(ddof=1))


def _design(tested: Sequence[CurvePair], margin: float | None) -> Design:
    """Pooled over pairs: of L losses in S seeds twice the residual variance of losses by seeds.

    With (L - 1)(S - 1) degrees of freedom, or as many fewer as losses lack seeds.
    """
    weights = [_seeds(pair) - 1 for pair in tested]
    variance = np.average([_own_spread(pair) ** 2 for pair in tested], weights=weights)
    cells = {
        (name, seed)
        for pair in tested
        for name in (pair.first, pair.second)
        for seed in (pair.overlap.ranges if pair.overlap else ())
    }
    names, seeds = ({cell[axis] for cell in cells} for axis in (0, 1))
    return Design(
        float(variance) ** 0.5, len(cells) - len(names) - len(seeds) + 1, len(tested), margin
    )


def _p_value(pair: CurvePair, spread: float, design: Design) -> float:
    """Student's, of no difference; values without any spread are certain."""
    mean = abs(float(_values(pair).mean()))
    if not spread:
        return 0.0 if mean else 1.0
    return float(2 * t.sf(mean / (spread / _seeds(pair) ** 0.5), design.freedom))


def _untested(pair: CurvePair) -> PairVerdict:
    if pair.overlap is None:
        return PairVerdict(pair, "not compared", None)
    return PairVerdict(pair, "undecided", pair.overlap.difference)


def _tested(pair: CurvePair, p: float, spread: float, design: Design) -> PairVerdict:
    values, seeds = _values(pair), _seeds(pair)
    mean, error = float(values.mean()), spread / seeds**0.5
    reach = quantile((1 + CONFIDENCE) / 2, design.freedom) * error
    inner = quantile(1 - ERROR, seeds - 1) * error
    outcome: Outcome = "undecided"
    if p <= ERROR:
        outcome = "ahead"
    elif design.margin is not None and abs(mean) + inner < design.margin:
        outcome = "equivalent"
    difference = Estimate(mean, mean - reach, mean + reach, "seeds", tuple(values.tolist()))
    return PairVerdict(pair, outcome, difference, p, spread, design)


def _seeds_to_decide(now: int, mean: float, spread: float, design: Design) -> int | None:
    """The fewest seeds that decide 8 times in 10, if mean and spread are as measured.

    Either way counts: a test as strict as the first of Holm's finds the difference, or both
    one-sided tests find it within the margin.
    """
    for seeds in range(now + 1, MOST_SEEDS + 1):
        error = spread / seeds**0.5
        freedom = design.freedom * (seeds - 1) / (now - 1)
        if _power(mean / error, freedom, design.strictest) >= POWER:
            return seeds
        if design.margin is not None and mean < design.margin:
            cut = t.ppf(1 - ERROR, seeds - 1)
            ends = [(design.margin - mean) / error, (design.margin + mean) / error]
            # What both tests find is at least what is left when each has missed its part.
            if sum(nct.sf(cut, seeds - 1, end) for end in ends) - 1 >= POWER:
                return seeds
    return None


def _power(shift: float, freedom: float, error: float) -> float:
    """The chance that a two-sided Student's test finds a mean `shift` standard errors from 0."""
    cut = t.ppf(1 - error / 2, freedom)
    return float(nct.sf(cut, freedom, shift))


def smallest_found(verdicts: Sequence[PairVerdict]) -> float | None:
    """The smallest difference that the design finds 8 times in 10.

    By a test as strict as the first of Holm's, with the spread of the pair in the middle and as
    many seeds as most pairs have; None where no pair has been tested.
    """
    tested = [verdict for verdict in verdicts if verdict.spread]
    if not tested:
        return None
    design = tested[0].design
    spread = float(np.median([verdict.spread or 0.0 for verdict in tested]))
    seeds = float(np.median([_seeds(verdict.pair) for verdict in tested]))
    if design is None:
        return None

    def missing(shift: float) -> float:
        return _power(shift, design.freedom, design.strictest) - POWER

    return float(brentq(missing, 0.0, 1000.0)) * spread / seeds**0.5
