"""A table of log-probabilities trained by `fdpo.losses`, on drawn pairs or on all of them."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from experiments.exact.world import Measures, World, measure
from fdpo.core.randomness import stream
from fdpo.losses import Objective, f_dpo_loss

STEPS, RATE, MOMENTUM, EVERY = 100, 5.0, 0.9, 4  # of gradient descent on all pairs at once

Loss = Callable[[Tensor], Tensor]  # of log π [..., prompts, completions], a number


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
class Draws:
    """Labelled pairs [seeds, pairs] of reference samples, as places in [prompts · completions]."""

    chosen: Tensor
    rejected: Tensor


def draw_pairs(world: World, labels: Labels, pairs: int, seeds: int) -> Draws:
    """Two reference samples a pair, of a prompt drawn evenly, with a drawn label.

    Fewer pairs of a seed are the first of more, and other labels are of the same samples.
    """
    prompts, completions = world.log_ref.shape
    sampled = world.log_ref.exp().cumsum(-1)
    sides = []
    for seed in range(seeds):
        draws = torch.tensor(stream(seed, "exact", "pairs").random((pairs, 4)))
        prompt = (draws[:, 0] * prompts).long()
        both = torch.searchsorted(sampled[prompt], draws[:, 1:3].contiguous())
        places = (prompt * completions)[:, None] + both.clamp(max=completions - 1)
        first, second = world.reward.flatten()[places].T
        stays = draws[:, 3] < labels.probability(first - second)
        sides.append(torch.where(stays[:, None], places, places.flip(1)))
    chosen, rejected = torch.stack(sides).unbind(-1)
    return Draws(chosen, rejected)


def loss_of_pairs(world: World, objective: Objective, draws: Draws) -> Loss:
    """The loss of drawn pairs: the sum over seeds of means over pairs.

    Equal pairs are computed once, and those of a completion with itself, whose loss is constant,
    not at all.
    """
    seeds, pairs = draws.chosen.shape
    cells = world.log_ref.numel()
    ref = world.log_ref.flatten().float()
    keys = (torch.arange(seeds)[:, None] * cells + draws.chosen) * cells + draws.rejected
    keys, counts = keys[draws.chosen != draws.rejected].unique(return_counts=True)
    chosen = keys // cells
    rejected = chosen // cells * cells + keys % cells
    references = ref[chosen % cells], ref[rejected % cells]

    def loss(log_policy: Tensor) -> Tensor:
        flat = log_policy.flatten()
        losses, *_ = f_dpo_loss(objective, flat[chosen], flat[rejected], *references)
        return (losses * counts).sum() / pairs

    return loss


def loss_of_everything(world: World, objective: Objective, labels: Labels) -> Loss:
    """The expected loss: every two completions, by the chance to be sampled and so labelled."""
    ref = world.log_ref
    label = labels.probability(world.reward[:, :, None] - world.reward[:, None, :])
    weight = 2 * (ref[:, :, None] + ref[:, None, :]).exp() * label / len(ref)

    def loss(log_policy: Tensor) -> Tensor:
        rewards = objective.implicit_reward(log_policy, ref.to(log_policy.dtype))
        losses = objective.preference_loss(rewards[..., :, None], rewards[..., None, :])
        return (weight.to(log_policy.dtype) * losses).sum()

    return loss


def train(world: World, objective: Objective, loss: Loss, seeds: int) -> list[Measures]:
    """Measures [seeds] of policies along the path of gradient descent, from the reference on.

    The rate is in units of the loss's slope at the reference, so that the first step is that of
    every loss and β. Adam is no choice for a table: it moves a completion that was never sampled,
    whose gradient comes through the normalisation alone, as far as one of many pairs.
    """
    logits = torch.zeros(seeds, *world.log_ref.shape, requires_grad=True)
    ref = world.log_ref.float()  # half the time; the policies are measured in float64
    rate = RATE * len(world.log_ref) / slope_at_reference(objective)
    optimizer = torch.optim.SGD([logits], lr=rate, momentum=MOMENTUM)
    path = []
    for step in range(STEPS + 1):
        if step % EVERY == 0:
            path.append(measure(world, (world.log_ref + logits.detach()).log_softmax(-1)))
        optimizer.zero_grad()
        loss((ref + logits).log_softmax(-1)).backward()
        optimizer.step()
    return path


def slope_at_reference(objective: Objective) -> float:
    """How fast the loss of a pair falls there with its chosen completion's log-ratio, > 0."""
    zero = torch.zeros(1, dtype=torch.float64)
    chosen = zero.clone().requires_grad_()
    loss = f_dpo_loss(objective, chosen, zero, zero, zero)[0].sum()
    return -torch.autograd.grad(loss, chosen)[0].item()


def minimum(world: World, loss: Loss, start: Tensor) -> Tensor:
    """log π [prompts, completions] where L-BFGS ends from log π `start`.

    A logit is scaled by √π_ref, without which the rarest completions take ten times the steps.
    """
    ref = world.log_ref
    scale = (-ref / 2).exp()
    scaled = ((start - ref) / scale).clone().requires_grad_()
    optimizer = torch.optim.LBFGS(
        [scaled],
        max_iter=1000,
        tolerance_grad=1e-10,
        tolerance_change=1e-15,
        history_size=30,
        line_search_fn="strong_wolfe",
    )

    def policy() -> Tensor:
        return (ref + scaled * scale).log_softmax(-1)

    def closure() -> float:
        optimizer.zero_grad()
        value = loss(policy())
        value.backward()
        return value.item()

    optimizer.step(closure)
    return policy().detach()
