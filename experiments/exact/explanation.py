"""What a loss's shortfall comes of: its estimate of the reward, or its divergence.

Trained on few pairs, a policy's implicit reward is a noisy estimate of the true one, and the
divergence turns it into probabilities. The two are crossed here: every loss's estimate is put into
reverse KL's closed form, and sigmoid's estimate into every divergence's, at equal KL.
"""

from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
from torch import Tensor

from experiments.exact.comparison import LEVELS, SEEDS, AtLevel, compare, first_crossing
from experiments.exact.optimum import ALPHA, CLOSED, optimum
from experiments.exact.training import Labels, draw_pairs, flow
from experiments.exact.world import World, measure
from fdpo.losses import Objective

STRENGTHS = np.geomspace(30, 0.03, 36)  # β, in units of the estimate's spread under π_ref


def crossed(world: World, rows: Sequence[dict], pairs: int) -> dict[str, list[dict]]:
    """Rewards at equal KL; `rows` are those of the losses trained on so many pairs."""
    draws = draw_pairs(world, Labels(), pairs, SEEDS)
    estimates = {}
    for row in rows:
        objective = Objective(row["loss"], row["betas"][0], ALPHA)
        estimates[row["loss"]] = implied_rewards(world, objective, draws)
    shared = estimates["sigmoid"]
    return {
        "its own estimate, reverse KL": compare(
            [at_equal_kl(world, loss, "sigmoid", own) for loss, own in estimates.items()]
        ),
        "sigmoid's estimate, its own divergence": compare(
            [at_equal_kl(world, loss, loss, shared) for loss in CLOSED if loss != "ipo"]
        ),
    }


def implied_rewards(world: World, objective: Objective, draws) -> Tensor:
    """Implicit rewards [seeds, prompts, completions] where each seed's policy comes to the KL."""
    found, there = None, torch.zeros(draws.seeds, dtype=torch.bool)
    for policy in flow(world, objective, draws):
        found = policy if found is None else torch.where(there[:, None, None], found, policy)
        there = there | (measure(world, policy).kl >= LEVELS["kl"])
        if there.all():
            break
    return objective.implicit_reward(cast(Tensor, found), world.log_ref)


def at_equal_kl(world: World, name: str, divergence: str, estimate: Tensor) -> AtLevel:
    """The rewards of a divergence's closed form that takes `estimate` for the reward."""
    ref = world.log_ref.exp()
    centred = estimate - (ref * estimate).sum(-1, keepdim=True)
    spread = (ref * centred**2).sum(-1).mean(-1).sqrt()
    path = []
    for beta in STRENGTHS:
        policy = optimum(divergence, beta, ALPHA, world.log_ref, centred / spread[:, None, None])
        path.append(measure(world, cast(Tensor, policy)))  # only squared may have none
    return AtLevel(name, first_crossing(path, "kl", LEVELS["kl"]), [])
