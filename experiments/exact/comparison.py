"""Rewards of the losses at equal divergence from the reference, with intervals over seeds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from experiments.exact.optimum import ALPHA, CLOSED, optimum_at
from experiments.exact.training import Labels, Pairs, draw_pairs, flow
from experiments.exact.world import Measures, World, measure
from fdpo.losses import Objective

LOSSES = (
    "sigmoid",
    "hinge",
    "jsd",
    "fkl",
    "alpha",
    "jeffreys",
    "chi2",
    "ipo",
)  # not `squared`: no optimum has a KL of 1
LEVELS = {"kl": 1.0, "forward_kl": 0.5}  # nats
# β in units of the one whose optimum has a KL of 1, sigmoid's for `hinge`, which has none.
STRENGTHS = (0.25, 0.5, 0.7, 1.0, 1.4, 2.8)
SEEDS = 20


@dataclass(frozen=True)
class AtLevel:
    """A loss's rewards where its policies have come to a divergence, by seed, at its best β."""

    loss: str
    rewards: np.ndarray  # [seeds], NaN where the level is not reached
    betas: list[float]  # the most frequent first

    def row(self, baseline: np.ndarray, comparisons: int) -> dict:
        """Mean and 95 % interval, and those of the difference from `baseline`, seed by seed.

        The intervals of differences hold together for so many `comparisons` (Bonferroni).
        """
        mean, half = _mean_and_half(self.rewards, 0.05)
        row = {"loss": self.loss, "betas": self.betas, "reward": mean, "half": half}
        if self.rewards is not baseline:
            mean, half = _mean_and_half(self.rewards - baseline, 0.05 / comparisons)
            row |= {"difference": mean, "difference_half": half}
        return row


def _mean_and_half(values: np.ndarray, error: float) -> tuple[float | None, float | None]:
    if not np.isfinite(values).all():
        return None, None
    if len(values) < 2:
        return float(values.mean()), None
    spread = values.std(ddof=1) / np.sqrt(len(values))
    return float(values.mean()), float(spread * stats.t.ppf(1 - error / 2, len(values) - 1))


def at_levels(world: World, labels: Labels, pairs: int) -> list[dict]:
    """A row per level and loss: rewards of all losses trained on the same drawn pairs."""
    draws = draw_pairs(world, labels, pairs, SEEDS)
    found: dict[str, list[AtLevel]] = {name: [] for name in LEVELS}
    for loss in LOSSES:
        paths = {
            beta: train(world, Objective(loss, beta, ALPHA), draws) for beta in betas(world, loss)
        }
        for name, level in LEVELS.items():
            found[name].append(at_level(loss, paths, name, level))
    return [{"at": name, **row} for name, of in found.items() for row in compare(of)]


def betas(world: World, loss: str) -> list[float]:
    """The strengths that a loss is trained with."""
    unit = optimum_at(world, loss if loss in CLOSED else "sigmoid", "kl", 1.0)[0]
    return [strength * unit for strength in STRENGTHS]


def train(world: World, objective: Objective, draws: Pairs) -> list[Measures]:
    """Measures [seeds] after each step, until all seeds have come to all levels."""
    path = []
    for log_policy in flow(world, objective, draws):
        path.append(measure(world, log_policy))
        if all((getattr(path[-1], name) > level).all() for name, level in LEVELS.items()):
            break
    return path


def at_level(
    loss: str, paths: Mapping[float, Sequence[Measures]], name: str, level: float
) -> AtLevel:
    """Rewards where the paths, by β, first come to `level` of the divergence `name`.

    Each seed's β is the one with the greatest mean reward over the other seeds there, so that no
    seed chooses by its own noise, among those with which all seeds get there.
    """
    reached = {beta: first_crossing(path, name, level) for beta, path in paths.items()}
    reached = {beta: rewards for beta, rewards in reached.items() if np.isfinite(rewards).all()}
    if not reached:
        return AtLevel(loss, np.full(SEEDS, np.nan), [])
    rewards = np.array(list(reached.values()))  # [betas, seeds]
    chosen = (rewards.sum(1, keepdims=True) - rewards).argmax(0)
    counts = np.bincount(chosen, minlength=len(reached))
    places = [place for place in np.argsort(-counts, kind="stable") if counts[place]]
    own = rewards[chosen, np.arange(rewards.shape[1])]
    return AtLevel(loss, own, [list(reached)[place] for place in places])


def first_crossing(path: Sequence[Measures], name: str, level: float) -> np.ndarray:
    """Reward [seeds] where a path first comes to `level`, linear between measured steps."""
    levels = np.array([getattr(measures, name).numpy() for measures in path])  # [steps, seeds]
    rewards = np.array([measures.reward.numpy() for measures in path])
    above = levels >= level
    step = np.maximum(above.argmax(0), 1)
    seeds = np.arange(levels.shape[1])
    low, high = levels[step - 1, seeds], levels[step, seeds]
    share = (level - low) / (high - low)
    between = rewards[step - 1, seeds] + share * (rewards[step, seeds] - rewards[step - 1, seeds])
    return np.where(above.any(0), between, np.nan)


def compare(found: Sequence[AtLevel]) -> list[dict]:
    """The rows of losses at one level, each against the first."""
    baseline = found[0].rewards
    return [one.row(baseline, len(found) - 1) for one in found]
