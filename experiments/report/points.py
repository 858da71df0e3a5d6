"""Rows that differ by seed alone are one point, and points of one loss are a curve over β."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy.stats import t

from experiments.sweep.results import RowParams, RowResults, SweepResults
from fdpo.baselines.intervals import CONFIDENCE, Interval
from fdpo.core.errors import UserError
from fdpo.losses import LOSSES

SEEDS_FOR_SPREAD = 3  # of two, the t interval is 13 standard errors wide: it says nothing
OBJECTIVE = "eval/loss_capped"  # of fdpo.training.curves, which says why


def curve_name(params: RowParams) -> str:
    """The loss, with its α where it reads one: what a curve over β is named by.

    Runs that were stopped early are a curve of their own, along training.
    """
    reads_alpha = params.loss in LOSSES and "alpha" in LOSSES[params.loss].parameters
    stopped = (params.model_extra or {}).get("train.stop_after")
    parts = [params.loss, f"{params.alpha:g}" * reads_alpha, "stopped early" * bool(stopped)]
    return " ".join(filter(None, parts))


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
    groups: dict[tuple, dict[int, RowResults]] = {}
    for name, row in sorted(sweep.rows.items(), key=lambda item: item[1].params.seed):
        params = row.params
        overrides = tuple(
            sorted((key, str(value)) for key, value in (params.model_extra or {}).items())
        )
        group = groups.setdefault((curve_name(params), -params.beta, params.lr, overrides), {})
        if params.seed in group:
            raise UserError(f"{sweep.sweep}: {name} has the params of another row; remove one")
        group[params.seed] = row
    short = [f"{curve} β={-beta:g}" for curve, beta, *_ in groups]
    rates = {lr for _, _, lr, _ in groups}
    shared = set.intersection(*(set(overrides) for *_, overrides in groups))
    found = []
    for (curve, beta, lr, overrides), rows in groups.items():
        label = f"{curve} β={-beta:g}"
        if short.count(label) > 1:
            own = [(key, value) for key, value in overrides if (key, value) not in shared]
            rest = [f"lr={lr:g}"] * (len(rates) > 1)
            rest += [f"{key.rsplit('.', 1)[-1]}={value}" for key, value in own]
            label = " ".join([label, *rest])
        found.append(((curve_order(curve), beta, label), Point(curve, label, rows)))
    return [point for _, point in sorted(found, key=lambda item: item[0])]


def curves(points: Iterable[Point]) -> dict[str, list[Point]]:
    """Points by curve, in their order."""
    grouped: dict[str, list[Point]] = {}
    for point in points:
        grouped.setdefault(point.curve, []).append(point)
    return grouped
