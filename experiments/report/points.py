"""Rows that differ by seed alone are one point, and points of one loss are a curve over β."""

from collections import Counter
from collections.abc import Container, Iterable
from dataclasses import dataclass

import numpy as np
from scipy.stats import t

from experiments.sweep.results import RowParams, RowResults, SweepResults
from fdpo.baselines.intervals import CONFIDENCE, Interval
from fdpo.core.errors import UserError
from fdpo.losses import LOSSES

SEEDS_FOR_SPREAD = 3  # of two, the t interval is 13 standard errors wide: it says nothing
STOP = "train.stop_after"
OBJECTIVE = "eval/loss_capped"  # of fdpo.training.curves, which says why


def _overrides(params: RowParams) -> dict[str, str]:
    return {key: str(value) for key, value in (params.model_extra or {}).items()}


def curve_name(params: RowParams, shared: Container[tuple[str, str]]) -> str:
    """What a curve over β is named by: the loss, its α where it reads one, and settings of its own.

    `shared` are settings that need no naming, as most rows have them. Runs stopped early are one
    curve, along training.
    """
    reads_alpha = params.loss in LOSSES and "alpha" in LOSSES[params.loss].parameters
    overrides = _overrides(params)
    early = "stopped early" if overrides.pop(STOP, None) else ""
    own = sorted(item for item in overrides.items() if item not in shared)
    settings = [f"{key.rsplit('.', 1)[-1]}={value}" for key, value in own]
    alpha = f"{params.alpha:g}" if reads_alpha else ""
    return " ".join(filter(None, [params.loss, alpha, *settings, early]))


def curve_order(name: str) -> tuple[int, str]:
    """Sorts curves as the losses are declared; a loss that is declared no more comes last."""
    loss, order = name.split()[0], list(LOSSES)
    return (order.index(loss) if loss in order else len(order), name)


def optimised(row: RowResults) -> bool | None:
    """Whether the capped loss of the test pairs ended below its start; None where not recorded."""
    recorded = [value for _, value in row.curves.get(OBJECTIVE, [])]  # by train.eval_every
    if {"loss_capped", "loss_reference"} <= row.metrics.keys():
        recorded = [row.metrics[name].value for name in ("loss_reference", "loss_capped")]
    if not recorded or recorded[0] is None:
        return None
    return recorded[-1] is not None and recorded[-1] < recorded[0]


@dataclass(frozen=True)
class Point:
    """One setting of one loss: its rows by seed, ascending."""

    curve: str
    label: str
    rows: dict[int, RowResults]

    def mean(self, metric: str) -> Interval:
        """A metric's mean over seeds."""
        return over_seeds([row.metrics[metric].value for row in self.rows.values()])


def over_seeds(values: Iterable[float]) -> Interval:
    """The mean over seeds with Student's 95 % interval; without ends from fewer than three."""
    values = np.array(list(values))
    mean = float(values.mean())
    if len(values) < SEEDS_FOR_SPREAD:
        return Interval(mean, None, None)
    error = float(values.std(ddof=1)) / len(values) ** 0.5
    reach = float(t.ppf((1 + CONFIDENCE) / 2, len(values) - 1)) * error
    return Interval(mean, mean - reach, mean + reach)


def points(sweep: SweepResults) -> list[Point]:
    """The sweep's points, by loss, then β from large to small.

    Raises `UserError` when two rows have the same params.
    """
    ordered = sorted(sweep.rows.items(), key=lambda item: item[1].params.seed)
    settings = [_overrides(row.params) for _, row in ordered]
    everywhere = set.intersection(*map(set, settings))
    counts = Counter(item for one in settings for item in one.items() if item[0] in everywhere)
    shared = {item for item, count in counts.items() if 2 * count > len(ordered)}
    groups: dict[tuple, dict[int, RowResults]] = {}
    for name, row in ordered:
        curve, stop = curve_name(row.params, shared), _overrides(row.params).get(STOP)
        group = groups.setdefault((curve, -row.params.beta, row.params.lr, stop), {})
        if row.params.seed in group:
            raise UserError(f"{sweep.sweep}: {name} has the params of another row; remove one")
        group[row.params.seed] = row
    short = [(curve, beta, stop) for curve, beta, _, stop in groups]
    found = []
    for (curve, beta, lr, stop), rows in groups.items():
        label = f"{curve} β={-beta:g}"
        label += f" lr={lr:g}" * (short.count((curve, beta, stop)) > 1)
        label += f" stop_after={stop}" * bool(stop)
        found.append(((curve_order(curve), beta, label), Point(curve, label, rows)))
    return [point for _, point in sorted(found, key=lambda item: item[0])]


def curves(points: Iterable[Point]) -> dict[str, list[Point]]:
    """Points by curve, in their order."""
    grouped: dict[str, list[Point]] = {}
    for point in points:
        grouped.setdefault(point.curve, []).append(point)
    return grouped
