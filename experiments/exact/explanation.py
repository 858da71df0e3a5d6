"""What a policy's shortfall comes of: the estimate of the reward, or the divergence.

A table can take any value of g(ρ_i) − g(ρ_j), so at the minimum of drawn pairs all losses of one
shape have the same estimate of the reward, and their policies differ by the closed form that turns
it into probabilities. So the two can be crossed without any training.
"""

from typing import cast

import numpy as np
import torch
from torch import Tensor

from experiments.exact.comparison import ALPHA, LEVELS, AtLevel, compare, first_crossing
from experiments.exact.optimum import optimum
from experiments.exact.training import Draws
from experiments.exact.world import World, measure

DIVERGENCES = ("sigmoid", "jsd", "fkl", "alpha", "jeffreys", "chi2")
STRENGTHS = np.geomspace(60, 0.03, 24)  # β from strong to weak, in units of the target's own
NEWTON_STEPS = 12


def reward_estimates(world: World, draws: Draws, prior: float) -> Tensor:
    """Most probable Bradley–Terry rewards [seeds, prompts, completions] of the pairs.

    `prior` is the standard deviation of a normal prior around 0 in each. By Newton's method.
    """
    seeds, (prompts, completions) = len(draws.chosen), world.log_ref.shape
    cells = torch.arange(seeds)[:, None] * prompts * completions
    chosen, rejected = (cells + draws.chosen).flatten(), (cells + draws.rejected).flatten()
    row = chosen // completions
    places = chosen % completions, rejected % completions
    ridge = torch.eye(completions, dtype=torch.float64) / prior**2
    estimate = torch.zeros(seeds * prompts * completions, dtype=torch.float64)
    for _ in range(NEWTON_STEPS):
        wrong = torch.sigmoid(estimate[rejected] - estimate[chosen])
        slope = estimate / prior**2
        slope.index_add_(0, chosen, -wrong).index_add_(0, rejected, wrong)
        curvature = torch.zeros(seeds * prompts, completions, completions, dtype=torch.float64)
        pull = wrong * (1 - wrong)
        for first in (0, 1):
            for second in (0, 1):
                sign = 1 if first == second else -1
                where = (row, places[first], places[second])
                curvature.index_put_(where, sign * pull, accumulate=True)
        step = torch.linalg.solve(curvature + ridge, slope.view(-1, completions))
        estimate = estimate - step.flatten()
    return estimate.view(seeds, prompts, completions)


def rewards_by_divergence(world: World, estimate: Tensor) -> list[dict]:
    """Each divergence's reward at equal KL if it took `estimate` for the reward."""
    found = []
    for loss in DIVERGENCES:
        path = []
        for beta in STRENGTHS:
            policy = optimum(loss, float(beta), ALPHA, world.log_ref, estimate)
            path.append(measure(world, cast(Tensor, policy)))  # only squared may have none
        rewards = first_crossing(path, "kl", LEVELS["kl"])
        found.append(AtLevel(loss, rewards, []))
    return compare(found)
