"""A table of log-probabilities trained by `fdpo.losses`, on drawn pairs or on all of them."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor

from experiments.exact.world import World
from fdpo.core.randomness import stream
from fdpo.losses import Objective, f_dpo_loss

TIMES = np.geomspace(4, 1e6, 100)  # after each step of the flow


@dataclass(frozen=True)
class Labels:
    """Bradley–Terry at temperature 1, or by rank; then a share `flip_rate` is exchanged."""

    by_rank: bool = False
    flip_rate: float = 0.0

    def probability(self, difference: Tensor) -> Tensor:
        """That a completion whose reward is greater by `difference` is the chosen one."""
        right = (difference.sign() + 1) / 2 if self.by_rank else torch.sigmoid(difference)
        return self.flip_rate + (1 - 2 * self.flip_rate) * right


@dataclass(frozen=True)
class Pairs:
    """Different labelled pairs, each [pairs]: places in [seeds · prompts · completions].

    A seed's `weight`s add up to 1 with those of a completion and itself, which are left out: their
    loss is constant.
    """

    chosen: Tensor
    rejected: Tensor
    weight: Tensor
    seeds: int


def draw_pairs(world: World, labels: Labels, pairs: int, seeds: int) -> Pairs:
    """Two reference samples a pair, of a prompt drawn evenly, with a drawn label.

    Fewer pairs of a seed are the first of more, and other labels are of the same samples.
    """
    prompts, completions = world.log_ref.shape
    cells = prompts * completions
    sampled = world.log_ref.exp().cumsum(-1)
    keys = []
    for seed in range(seeds):
        draws = torch.tensor(stream(seed, "exact", "pairs").random((pairs, 4)))
        prompt = (draws[:, 0] * prompts).long()
        both = torch.searchsorted(sampled[prompt], draws[:, 1:3].contiguous())
        places = (prompt * completions)[:, None] + both.clamp(max=completions - 1)
        first, second = world.reward.flatten()[places].T
        stays = draws[:, 3] < labels.probability(first - second)
        chosen, rejected = torch.where(stays[:, None], places, places.flip(1)).T
        differ = chosen != rejected
        keys.append(((seed * cells + chosen) * cells + rejected)[differ])
    key, counts = torch.cat(keys).unique(return_counts=True)
    chosen = key // cells
    return Pairs(chosen, chosen // cells * cells + key % cells, counts.double() / pairs, seeds)


def flow(world: World, objective: Objective, pairs: Pairs) -> Iterator[Tensor]:
    """log π [seeds, prompts, completions] along the gradient flow of logits, from π_ref on.

    Time is in units of the loss's slope at the reference, so that all losses set out equally
    fast. Steps grow with time, and curvature damps them (semi-implicit Euler), or the exponential
    of `fkl` would overshoot. Adam is no choice for a table: it moves a completion
    that was never sampled as far as one of many pairs.
    """
    log_ref = world.log_ref
    logits = log_ref.expand(pairs.seeds, -1, -1)
    for time in np.diff(TIMES, prepend=0) * len(log_ref) / slope_at_reference(objective):
        log_policy = logits.log_softmax(-1)
        yield log_policy
        gradient, curvature = slopes(objective, pairs, log_policy, log_ref)
        logits = log_policy - damped(gradient, curvature, log_policy.exp(), time)
    yield logits.log_softmax(-1)


def damped(gradient: Tensor, curvature: Tensor, policy: Tensor, time: float) -> Tensor:
    """(1/time + JᵀAJ)⁻¹ gradient, with A the diagonal `curvature` by log π and J = I − 1πᵀ.

    A diagonal plus two outer products, so inverted by Woodbury's formula; all [..., completions].
    """
    diagonal = (1 / time + curvature)[..., None]
    sides = torch.stack([policy, curvature], -1)
    total = curvature.sum(-1)
    core = torch.stack([0 * total, 0 * total - 1, 0 * total - 1, -total], -1)
    core = core.view(*total.shape, 2, 2) + sides.mT @ (sides / diagonal)
    straight = gradient[..., None] / diagonal
    return (straight - sides / diagonal @ torch.linalg.solve(core, sides.mT @ straight))[..., 0]


def slopes(
    objective: Objective, pairs: Pairs, log_policy: Tensor, log_ref: Tensor
) -> tuple[Tensor, Tensor]:
    """Slope of the loss, summed over seeds, by logits, and its curvature by each log π alone.

    Each [seeds, prompts, completions], as `log_policy` is; the curvature is Gauss and Newton's,
    which leaves out that of the link. The link is computed once for each
    completion, not for each pair of it as `f_dpo_loss` would.
    """
    logps = log_policy.detach().requires_grad_()
    rewards = objective.implicit_reward(logps, log_ref)
    (by_ratio,) = torch.autograd.grad(rewards.sum(), logps)
    flat = rewards.detach().flatten()
    chosen = flat[pairs.chosen].requires_grad_()
    losses = objective.preference_loss(chosen, flat[pairs.rejected])
    (first,) = torch.autograd.grad(losses.sum(), chosen, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), chosen)
    if not second.any():
        second = torch.ones_like(second)  # the hinge's, which is 0 but at its kink
    first, second = first.detach() * pairs.weight, second * pairs.weight
    by_reward, curvature = torch.zeros_like(flat), torch.zeros_like(flat)
    by_reward.index_add_(0, pairs.chosen, first).index_add_(0, pairs.rejected, -first)
    curvature.index_add_(0, pairs.chosen, second).index_add_(0, pairs.rejected, second)
    by_logp = by_reward.view_as(rewards) * by_ratio
    by_logit = by_logp - log_policy.exp() * by_logp.sum(-1, keepdim=True)
    return by_logit, curvature.view_as(rewards) * by_ratio**2


def slope_at_reference(objective: Objective) -> float:
    """How fast the loss of a pair falls there with its chosen completion's log-ratio, > 0."""
    zero = torch.zeros(1, dtype=torch.float64)
    chosen = zero.clone().requires_grad_()
    loss = f_dpo_loss(objective, chosen, zero, zero, zero)[0].sum()
    return -torch.autograd.grad(loss, chosen)[0].item()


def minimum(world: World, objective: Objective) -> Tensor:
    """log π [prompts, completions] at the minimum for infinitely many Bradley–Terry labels.

    By a trust region with Gauss–Newton curvature, from the reference on, each prompt by itself.
    First-order steps take thousands for the losses of a steep link. A logit is in units of
    1/√π_ref, which evens out the curvature.
    """
    rows = zip(world.log_ref, world.reward, strict=True)
    return torch.stack([_minimum_of_prompt(ref, reward, objective) for ref, reward in rows])


def _minimum_of_prompt(ref: Tensor, reward: Tensor, objective: Objective) -> Tensor:
    share = 2 * (ref[:, None] + ref).exp() * Labels().probability(reward[:, None] - reward)
    scale = (-ref / 2).exp()

    def log_policy(scaled: np.ndarray | Tensor) -> Tensor:
        return (ref + torch.as_tensor(scaled) * scale).log_softmax(-1)

    def value_and_slope(scaled: np.ndarray) -> tuple[float, np.ndarray]:
        leaf = torch.tensor(scaled, requires_grad=True)
        rewards = objective.implicit_reward(log_policy(leaf), ref)
        loss = (share * objective.preference_loss(rewards[:, None], rewards)).sum()
        return loss.item(), torch.autograd.grad(loss, leaf)[0].numpy()

    def curvature(scaled: np.ndarray) -> np.ndarray:
        logps = log_policy(scaled).requires_grad_()
        rewards = objective.implicit_reward(logps, ref)
        (by_ratio,) = torch.autograd.grad(rewards.sum(), logps)
        first = rewards.detach()[:, None].repeat(1, len(ref)).requires_grad_()
        losses = objective.preference_loss(first, rewards.detach())
        (slope,) = torch.autograd.grad(losses.sum(), first, create_graph=True)
        weight = share * torch.autograd.grad(slope.sum(), first)[0]
        weight = weight + weight.T
        by_logit = torch.eye(len(ref), dtype=ref.dtype) - logps.detach().exp()
        moved = by_ratio[:, None] * by_logit * scale
        return (moved.T @ (weight.sum(1).diag() - weight) @ moved).numpy()

    options = {"gtol": 1e-11, "maxiter": 500, "max_trust_radius": 1e6}
    start = np.zeros(len(ref))
    found = minimize(
        value_and_slope, start, jac=True, hess=curvature, method="trust-exact", options=options
    )
    return log_policy(found.x)
