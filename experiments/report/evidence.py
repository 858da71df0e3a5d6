"""What is computed of one sweep before anything is said or drawn of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from scipy.stats import spearmanr, t

from experiments.report.compare import (
    LEVELS,
    MARGIN,
    Difference,
    Omnibus,
    Scores,
    compare,
    omnibus,
    scores_at,
)
from experiments.report.points import SEEDS_FOR_SPREAD, Point, curves, optimised, over_seeds, points
from experiments.sweep.results import SweepResults
from experiments.sweep.spec import load
from fdpo.baselines.intervals import CONFIDENCE, Interval
from fdpo.core.errors import UserError

PRIMARY = "reward_difference"  # the hypotheses are about it; the other scores are described
SCORES = (PRIMARY, "judge_difference", "distinct_2")
# By what is held equal. At equal reward stands f-DPO's own claim: diversity and calibration.
COMPARED = {
    "kl": SCORES,
    "forward_kl": SCORES,
    PRIMARY: ("entropy", "distinct_2", "good_distance", "calibration_error"),
}
AXES = {"kl": "KL", "forward_kl": "forward KL", PRIMARY: "reward gain"}


@dataclass(frozen=True)
class Level:
    """The comparison of one score at one KL, forward KL or reward."""

    axis: str  # the metric that is held equal
    kl: float
    score: str
    scores: Scores
    differences: list[Difference]
    omnibus: Omnibus | None

    @property
    def at(self) -> str:
        """What is held equal, as people read it."""
        return f"{AXES[self.axis]} of {self.kl:g}"


@dataclass(frozen=True)
class Baseline:
    """What the reference reaches without training; of best-of-n the KL is an upper bound."""

    label: str
    kl: float
    metrics: dict[str, Interval]


@dataclass(frozen=True)
class Evidence:
    """All that sentences, tables and figures of one sweep are made from."""

    sweep: SweepResults
    points: list[Point]
    margin: dict[str, float | None]
    levels: list[Level]
    baselines: list[Baseline]
    missing: int  # rows that are not run yet

    @property
    def curves(self) -> dict[str, list[Point]]:
        """Points by curve."""
        return curves(self.points)

    @property
    def by_kl(self) -> list[Level]:
        """Reward at each KL that was reached, ascending."""
        return [level for level in self.levels if (level.axis, level.score) == ("kl", PRIMARY)]

    @property
    def primary(self) -> Level | None:
        """The level that the verdict is about: KL 2, or the highest below it that was reached."""
        reached = [level for level in self.by_kl if level.kl <= 2]
        return reached[-1] if reached else None

    def optimised(self) -> tuple[int, int, int]:
        """How many rows lowered their own objective, did not, and did not record it."""
        found = [optimised(row) for row in self.sweep.rows.values()]
        return found.count(True), found.count(False), found.count(None)


def gather(sweep: SweepResults) -> Evidence:
    """All of it, computed."""
    found = points(sweep)
    margins = {score: _margin(sweep, score) for score in SCORES}
    levels = []
    for axis, names in COMPARED.items():
        for score, kl in product(names, LEVELS[axis]):
            if not all({axis, score} <= row.metrics.keys() for row in sweep.rows.values()):
                continue
            scores = scores_at(curves(found), kl, score, axis)
            if differences := compare(scores, margins.get(score)):
                tested = omnibus(scores, stream_of(score, axis, kl))
                levels.append(Level(axis, kl, score, scores, differences, tested))
    return Evidence(sweep, found, margins, levels, baselines(sweep), _missing(sweep))


def _missing(sweep: SweepResults) -> int:
    """How many rows of the sweep's file have no results; 0 where there is no such file."""
    try:
        return sum(row.name not in sweep.rows for row in load(sweep.sweep))
    except UserError:
        return 0


def stream_of(score: str, axis: str, kl: float) -> str:
    """What names the random stream of a level's permutations."""
    return f"{score} at {axis} {kl:g}"


def _margin(sweep: SweepResults, score: str) -> float | None:
    """`MARGIN` in units of the score: of the standard deviation of the reference's samples."""
    name = score.removesuffix("_difference")
    samples = [getattr(reference, name, None) for reference in sweep.references.values()]
    spreads = [float(np.std(values)) for values in samples if values is not None]
    if not spreads or len(spreads) < len(samples):
        return None
    return MARGIN * float(np.mean(spreads))


def baselines(sweep: SweepResults) -> list[Baseline]:
    """The baselines that the reference has in every seed, in the order that it has them."""
    entries: dict[str, list[dict]] = {}
    references = sweep.reference_by_seed
    for _, reference in sorted(references.items()):
        for entry in reference.baselines:
            best_of = entry["baseline"] == "best_of"
            label = f"best of {entry['n']}" if best_of else f"temperature {entry['temperature']:g}"
            entries.setdefault(label, []).append(entry)
    found = []
    for label, group in entries.items():
        if len(group) < len(references):
            continue
        metrics = {
            name: over_seeds([entry["metrics"][name]["value"] for entry in group])
            for name in group[0]["metrics"]
            if all(entry["metrics"][name] for entry in group)
        }
        kl = group[0].get("kl_bound") or metrics["kl"].value
        found.append(Baseline(label, kl, metrics))
    return found


@dataclass(frozen=True)
class ControlVariate:
    """What the control variate does to reward, in the mean over rows."""

    shift: Interval  # of the mean, over seeds; 0 but for noise
    share: float  # of the variance among a policy's samples of a prompt that it takes out
    before: float  # standard error of a row's reward difference
    after: float
    reference: float  # what the reference's samples alone add to both


def control_variate(sweep: SweepResults) -> ControlVariate | None:
    """As the rows have it; None where they have no control variate or kept no samples' scores."""
    found: list[list[float]] = []
    shifts: dict[int, list[float]] = {}
    for row in sweep.rows.values():
        before, after = (row.metrics.get(name) for name in (PRIMARY, f"{PRIMARY}_adjusted"))
        scores = (row.heldout or {}).get("reward")
        if not (before and after and scores and row.reference):
            return None
        reached = 2 * t.ppf((1 + CONFIDENCE) / 2, len(scores) - 1)  # ends of Student's intervals
        errors = [((x.high or 0.0) - (x.low or 0.0)) / reached for x in (before, after)]
        own, reference = (
            float(np.var(values, axis=1, ddof=1).mean()) / np.size(values)
            for values in (scores, sweep.references[row.reference].reward)
        )
        taken = (errors[0] ** 2 - errors[1] ** 2) / own
        found.append([taken, *errors, reference**0.5])
        shifts.setdefault(row.params.seed, []).append(after.value - before.value)
    shift = over_seeds(float(np.mean(of_seed)) for of_seed in shifts.values())
    return ControlVariate(shift, *map(float, np.mean(found, axis=0)))


# Mean reward of 48 samples by loss and β that somvy/slic-hf published, as docs/imdb.md has it.
PUBLISHED_SWEEP = "seed-table"
PUBLISHED_REWARDS = {
    "sigmoid β=0.1": 2.90,
    "sigmoid β=0.5": 2.74,
    "sigmoid β=1": 2.10,
    "sigmoid β=10": 1.16,
    "hinge β=0.1": 2.86,
    "hinge β=0.5": 2.00,
    "hinge β=1": 1.50,
    "hinge β=10": 1.10,
    "jsd β=0.1": 2.67,
    "jsd β=1": 1.40,
    "fkl β=0.1": 0.92,
    "fkl β=1": 0.99,
    "alpha 0.3 β=0.1": 1.89,
    "alpha 0.3 β=1": 1.48,
    "alpha 0.5 β=0.1": 1.54,
    "alpha 0.5 β=1": 1.25,
    "alpha 0.7 β=0.1": 1.21,
    "alpha 0.7 β=1": 1.48,
}


def published_order(found: Sequence[Point]) -> tuple[float, int] | None:
    """Spearman's correlation of rewards here with the published ones, and over how many points."""
    known = [point for point in found if point.label in PUBLISHED_REWARDS]
    if len(known) < SEEDS_FOR_SPREAD:
        return None
    here = [point.mean("reward_difference").value for point in known]
    there = [PUBLISHED_REWARDS[point.label] for point in known]
    return float(spearmanr(here, there).statistic), len(known)
