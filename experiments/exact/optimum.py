"""The policy that each loss has its minimum at, in closed form up to one number per prompt.

With labels of probability p_ij the population's minimum has β(g(ρ_i) − g(ρ_j)) = logit p_ij for the
logistic shape, which Bradley–Terry rewards r meet exactly, and for the squared shape
g(ρ_i) = p̄_i/β + const, where p̄_i is the probability of winning against the reference. So either is
g(ρ_i) = (t_i − λ)/β with a target t, and λ makes the probabilities add up to 1. The hinge's minimum
is a step function of p_ij and has no such form, and `squared` none where t has a wide range.
"""

from collections.abc import Callable
from typing import cast

import numpy as np
import torch
from scipy.optimize import brentq
from scipy.optimize.elementwise import find_root
from scipy.special import lambertw, wrightomega
from torch import Tensor

from experiments.exact.world import World, measure
from fdpo import losses
from fdpo.losses import LOSSES

Array = np.ndarray
TOP_OF_SQUARED = np.exp(-1) * (1 - 1e-15)  # of ρe^{−ρ}; rounded up, it would have no inverse
ALPHA = 0.5
CLOSED = ("sigmoid", "jsd", "fkl", "alpha", "jeffreys", "chi2", "ipo")  # at any β
# ρ of g(ρ) = x; ω is Wright's, ω + log ω = x.
INVERSE: dict[Callable, Callable[[Array, float], Array]] = {
    losses.identity_link: lambda x, _: x,
    losses.jsd_link: lambda x, _: x - np.log(2) - np.log(-np.expm1(x - np.log(2))),
    losses.forward_kl_link: lambda x, _: -np.log(-x),
    losses.alpha_link: lambda x, alpha: -np.log1p(-alpha * x) / alpha,
    losses.jeffreys_link: lambda x, _: x + wrightomega(-x),
    losses.chi_squared_link: lambda x, _: x - wrightomega(x),
    losses.squared_link: lambda x, _: -lambertw(-x.clip(max=TOP_OF_SQUARED), 0).real,  # ρ ≤ 1
}


def target(world: World, loss: str) -> Tensor:
    """What the loss takes for the reward of infinitely many Bradley–Terry labels."""
    if LOSSES[loss].preference_loss is not losses.squared_distance:
        return world.reward
    return (world.log_ref.exp()[:, None, :] * world.win_probability).sum(-1)


def optimum(loss: str, beta: float, alpha: float, log_ref: Tensor, target: Tensor) -> Tensor | None:
    """log π [..., completions] with g(ρ) = (target − λ)/β; None where no λ makes it add up to 1.

    Args: `log_ref` and `target` broadcast to [..., completions], float64. Only `squared`, whose g
    is at most 1/e, may have none.
    """
    link, inverse = LOSSES[loss].link, INVERSE[LOSSES[loss].link]
    shape = torch.broadcast_shapes(log_ref.shape, target.shape)
    ref, x = (
        part.expand(shape).reshape(-1, shape[-1]).numpy() for part in (log_ref, target / beta)
    )
    rows = np.arange(len(x))
    best = x.argmax(-1)
    x = x - x[rows, best][:, None]
    room = -ref[rows, best]  # ρ of the best completion if it had all the probability
    if link is losses.squared_link:
        room = room.clip(max=1.0)

    def log_ratio(shift: Array, row: Array) -> Array:
        return inverse(x[row] - shift[..., None], alpha)

    def excess(shift: Array, row: Array) -> Array:
        return np.exp(ref[row] + log_ratio(shift, row)).sum(-1) - 1

    low, high = (-link(torch.tensor(end), alpha).numpy() for end in (room, 0 * room))
    if (excess(low, rows) < 0).any() and link is losses.squared_link:
        return None
    shift = find_root(excess, (low, high), args=(rows,), tolerances={"xatol": 0}).x
    return torch.tensor(ref + log_ratio(shift, rows)).log_softmax(-1).reshape(shape)


def optimum_at(world: World, loss: str, name: str, level: float) -> tuple[float, Tensor]:
    """β and log π of the optimum of one of `CLOSED` that has the divergence `name` of `level`."""
    wanted = target(world, loss)

    def policy(log_beta: float) -> Tensor:
        return cast(Tensor, optimum(loss, float(np.exp(log_beta)), ALPHA, world.log_ref, wanted))

    def excess(log_beta: float) -> float:
        return getattr(measure(world, policy(log_beta)), name).item() - level

    log_beta = brentq(excess, -3, 4, xtol=1e-9)
    return float(np.exp(log_beta)), policy(log_beta)
