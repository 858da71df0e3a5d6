"""What the reference reaches without training, over a sweep's seeds."""

from dataclasses import dataclass
from typing import Any

from experiments.report.analysis.estimates import Estimate, over_seeds
from experiments.report.analysis.matched import reward_at
from experiments.report.analysis.points import Point
from experiments.sweep.results import SweepResults
from fdpo.baselines.intervals import Interval


@dataclass(frozen=True)
class BaselinePoint:
    """A baseline on the axes of the comparison; of best-of-n the KL is a bound from above."""

    label: str
    kl: Estimate
    kl_is_bound: bool
    metrics: dict[str, Estimate]


def baseline_points(sweep: SweepResults) -> list[BaselinePoint]:
    """The baselines that the reference has in every seed, in the order that it has them."""
    entries: dict[str, list[dict[str, Any]]] = {}
    references = sweep.reference_by_seed
    for _, reference in sorted(references.items()):
        for entry in reference.baselines:
            entries.setdefault(_label(entry), []).append(entry)
    return [
        _point(label, group) for label, group in entries.items() if len(group) == len(references)
    ]


def _label(entry: dict[str, Any]) -> str:
    if entry["baseline"] == "best_of":
        return f"best of {entry['n']}"
    return f"temperature {entry['temperature']:g}"


def _point(label: str, entries: list[dict[str, Any]]) -> BaselinePoint:
    bound = "kl_bound" in entries[0]
    metrics = {
        name: over_seeds([Interval(**entry["metrics"][name]) for entry in entries])
        for name in entries[0]["metrics"]
        if all(entry["metrics"][name] for entry in entries)
    }
    if bound:
        value = float(entries[0]["kl_bound"])
        kl = Estimate(value, value, value, "seeds", (value,) * len(entries))
    else:
        kl = metrics["kl"]
    return BaselinePoint(label, kl, bound, metrics)


def best_at(curves: dict[str, list[Point]], kl: float) -> tuple[str, Estimate] | None:
    """The curve of most reward at a KL, with that reward; None where no curve reaches it."""
    rewards = {name: reward_at(points, kl) for name, points in curves.items()}
    reached = {name: reward for name, reward in rewards.items() if reward}
    if not reached:
        return None
    name = max(reached, key=lambda curve: reached[curve].value)
    return name, reached[name]
