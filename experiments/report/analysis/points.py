"""Rows that differ by seed alone are one point, and points of one loss are a curve over β."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from experiments.report.analysis.estimates import Estimate, over_seeds
from experiments.sweep.results import RowParams, RowResults, SweepResults
from fdpo.core.errors import UserError
from fdpo.baselines.intervals import Interval
from fdpo.losses import LOSSES


def curve_name(params: RowParams) -> str:
    """The loss, with its α where it reads one: what a curve over β is named by."""
    return f"{params.loss} {params.alpha:g}" if reads_alpha(params.loss) else params.loss


def reads_alpha(loss: str) -> bool:
    """Whether α makes a difference to a loss; a loss that is declared no more is taken not to."""
    return loss in LOSSES and "alpha" in LOSSES[loss].parameters


def curve_order(name: str) -> tuple[int, str]:
    """Sorts curves as the losses are declared; a loss that is declared no more comes last."""
    loss, order = name.split()[0], list(LOSSES)
    return (order.index(loss) if loss in order else len(order), name)


@dataclass(frozen=True)
class Point:
    """One setting of one loss: its rows by seed."""

    curve: str
    beta: float
    label: str
    rows: dict[int, RowResults]

    @property
    def seeds(self) -> tuple[int, ...]:
        """Its rows' seeds, ascending."""
        return tuple(self.rows)

    def metric(self, name: str, seed: int) -> Interval:
        """One seed's metric, with its interval over prompts."""
        return self.rows[seed].metrics[name]

    @property
    def judged(self) -> bool:
        """Whether the study has a judge."""
        return all("judge_difference" in row.metrics for row in self.rows.values())

    def estimate(self, name: str) -> Estimate:
        """A metric's mean over seeds."""
        return over_seeds([row.metrics[name] for row in self.rows.values()])

    @cached_property
    def reward(self) -> Estimate:
        """Reward above the reference's on the same prompts."""
        return self.estimate("reward_difference")

    @cached_property
    def kl(self) -> Estimate:
        """KL(π‖π_ref), nats per completion."""
        return self.estimate("kl")


def points(sweep: SweepResults) -> list[Point]:
    """The sweep's points, by loss, then β from large to small; rows by seed.

    Raises `UserError` when two rows have the same params.
    """
    groups: dict[str, dict[int, RowResults]] = {}
    for name, row in sorted(sweep.rows.items(), key=lambda item: item[1].params.seed):
        group = groups.setdefault(_setting(row.params), {})
        if row.params.seed in group:
            raise UserError(f"{sweep.sweep}: {name} has the params of another row; remove one")
        group[row.params.seed] = row
    firsts = [next(iter(rows.values())).params for rows in groups.values()]
    labels = _labels(firsts)
    unsorted = [
        Point(curve_name(params), params.beta, label, rows)
        for params, label, rows in zip(firsts, labels, groups.values(), strict=True)
    ]
    return sorted(unsorted, key=lambda p: (curve_order(p.curve), -p.beta, p.label))


def ordered(sweep: SweepResults) -> dict[str, RowResults]:
    """The sweep's rows by name, in the order of its points, then by seed."""

    def order(item: tuple[str, RowResults]) -> tuple:
        params = item[1].params
        return (curve_order(curve_name(params)), -params.beta, params.seed, item[0])

    return dict(sorted(sweep.rows.items(), key=order))


def _setting(params: RowParams) -> str:
    """All params but the seed; α only where the loss has one."""
    return params.model_dump_json(
        exclude={"seed"} if reads_alpha(params.loss) else {"seed", "alpha"}
    )


def _labels(settings: list[RowParams]) -> list[str]:
    """Loss and β, and where that is not enough to tell them apart, lr and overrides too."""
    short = [f"{curve_name(params)} β={params.beta:g}" for params in settings]
    return [
        label if short.count(label) == 1 else f"{label} {_rest(params)}"
        for label, params in zip(short, settings, strict=True)
    ]


def _rest(params: RowParams) -> str:
    settings = {"lr": params.lr} | params.overrides
    return " ".join(f"{key.rsplit('.', 1)[-1]}={value}" for key, value in settings.items())


def curves(points: Iterable[Point]) -> dict[str, list[Point]]:
    """Points by curve, in the order they have."""
    grouped: dict[str, list[Point]] = {}
    for point in points:
        grouped.setdefault(point.curve, []).append(point)
    return grouped
