"""The f-DPO losses: one registry entry each, and pure functions of four log-probability vectors.

With ρ = log π(y|x) − log π_ref(y|x), summed over completion tokens, and u = e^ρ, a divergence with
generator f gives the implicit reward β·f′(u) (Wang et al., arXiv 2309.16240, theorem 1). A link
g(ρ) below is f′(u) up to a constant, which cancels between chosen and rejected.

A loss is a divergence, by its link, and a shape, which turns a margin into a loss: logistic, hinge
or squared. To add a loss, add an entry to `LOSSES`. Nothing else names the losses.

Stages that only check the name of a loss import this module too, so importing it does not import
torch, which takes two seconds.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from torch import Tensor

# e^x overflows float32 at 88.7. Past this exponent it goes on along its tangent: still increasing,
# still C¹, and far beyond any log-ratio of a run that has not diverged.
MAX_EXPONENT = 60.0
MAX_DISTANCE = 1e6  # of the squared shape, whose square would overflow float32 past 1.8e19
CAP = 2  # times its loss at the start: no more can a pair count against a policy than it can gain


@dataclass(frozen=True)
class Loss:
    """A divergence and how it turns margins into a loss.

    `link(ρ, α)` is g(ρ), of any shape, in nats; only a loss with `alpha` among its `parameters`
    reads α. `preference_loss(Δ, β)` is the loss per pair of a margin Δ = β(g(ρ_w) − g(ρ_l)),
    [pairs] to [pairs]. `curvature` is f″(1): β·f″(1) is the strength near the reference, where
    g(ρ) ≈ g(0) + f″(1)·ρ.
    """

    name: str  # the value of `loss` in params.yaml
    divergence: str
    link: Callable[[Tensor, float], Tensor]
    preference_loss: Callable[[Tensor, float], Tensor]
    curvature: float
    source: str
    parameters: tuple[str, ...] = ()  # params beside β that this loss alone reads


def identity_link(log_ratio: Tensor, _alpha: float) -> Tensor:
    """g(ρ) = ρ: reverse KL."""
    return log_ratio


def jsd_link(log_ratio: Tensor, _alpha: float) -> Tensor:
    """g(ρ) = log 2 + log σ(ρ) = log(2u / (1 + u)): Jensen–Shannon."""
    return math.log(2) + _log_sigmoid(log_ratio)


def forward_kl_link(log_ratio: Tensor, _alpha: float) -> Tensor:
    """g(ρ) = −e^{−ρ}: forward KL, linear below ρ = −MAX_EXPONENT."""
    return -_exp(-log_ratio)


def alpha_link(log_ratio: Tensor, alpha: float) -> Tensor:
    """g(ρ) = (1 − e^{−αρ}) / α for 0 < α < 1, linear below ρ = −MAX_EXPONENT / α.

    α → 0 is reverse KL, α → 1 forward KL (plus 1). TRL's `f_alpha_divergence_coef` is 1 − α.
    """
    return -_expm1(-alpha * log_ratio) / alpha


def chi_squared_link(log_ratio: Tensor, _alpha: float) -> Tensor:
    """g(ρ) = e^ρ + ρ: χ² mixed with reverse KL, linear above ρ = MAX_EXPONENT."""
    return _exp(log_ratio) + log_ratio


def jeffreys_link(log_ratio: Tensor, _alpha: float) -> Tensor:
    """g(ρ) = ρ − e^{−ρ}: reverse plus forward KL, linear below ρ = −MAX_EXPONENT.

    f(u) = (u − 1) log u, put into theorem 1 of arXiv 2309.16240.
    """
    return log_ratio - _exp(-log_ratio)


def squared_link(log_ratio: Tensor, _alpha: float) -> Tensor:
    """g(ρ) = ρ·e^{−ρ}: half the squared log-ratio, e^{−ρ} being linear below ρ = −MAX_EXPONENT.

    f(u) = (log u)² / 2 is not convex beyond u = e. It need not be: it is enough that f′ falls to −∞
    at 0. That its minimum is not below u = 1 is necessary, not enough, to keep chosen completions
    from losing probability (SquaredPO, Pipano et al., arXiv 2602.06788). So g rises to ρ = 1 and
    falls beyond, where the loss draws a chosen completion back.
    """
    return log_ratio * _exp(-log_ratio)


def _exp(x: Tensor) -> Tensor:
    """e^x, extended linearly and C¹ past MAX_EXPONENT."""
    return x.clamp(max=MAX_EXPONENT).exp() * (1 + (x - MAX_EXPONENT).relu())


def _expm1(x: Tensor) -> Tensor:
    """e^x − 1 without cancellation near 0, extended linearly and C¹ past MAX_EXPONENT.

    PyTorch differentiates expm1 as its value plus 1, which cancels to 0 for x ≤ −17 in float32.
    So e^x − 1 is used away from 0, where it is as exact and its derivative is e^x.
    """
    bounded = x.clamp(max=MAX_EXPONENT)
    near = bounded.clamp(-1, 1).expm1()
    far = bounded.exp() - 1
    excess = math.exp(MAX_EXPONENT) * (x - MAX_EXPONENT).relu()
    return near.where(bounded.abs() < 1, far) + excess


def _log_sigmoid(x: Tensor) -> Tensor:
    from torch.nn.functional import logsigmoid  # no method of a tensor, unlike the rest

    return logsigmoid(x)


def bradley_terry(margin: Tensor, _beta: float) -> Tensor:
    """−log σ(Δ) (arXiv 2309.16240, equation 10)."""
    return -_log_sigmoid(margin)


def hinge(margin: Tensor, _beta: float) -> Tensor:
    """max(0, 1 − Δ) (SLiC, arXiv 2305.10425, equation 1, with log-ratios)."""
    return (1 - margin).relu()


def squared_distance(margin: Tensor, beta: float) -> Tensor:
    """(Δ/β − 1/(2β))²: the difference of log-ratios is drawn to 1/(2β), and no further.

    IPO (Azar et al., arXiv 2310.12036, the sampled loss), with the sums that the paper writes.
    TRL's `ipo` is this loss with `normalize` = mean, which its source says IPO's authors used.
    Beyond MAX_DISTANCE it goes on as a logarithm, C¹: a link may be as great as e^MAX_EXPONENT.
    """
    distance = margin / beta - 1 / (2 * beta)
    near = distance.clamp(-MAX_DISTANCE, MAX_DISTANCE)
    excess = distance.abs().clamp(min=MAX_DISTANCE) / MAX_DISTANCE
    return near**2 + 2 * MAX_DISTANCE**2 * excess.log()


NAMED = (
    Loss("sigmoid", "reverse KL (DPO)", identity_link, bradley_terry, 1, "arXiv 2305.18290"),
    Loss("hinge", "reverse KL (SLiC)", identity_link, hinge, 1, "arXiv 2305.10425"),
    Loss("jsd", "Jensen–Shannon", jsd_link, bradley_terry, 0.5, "arXiv 2309.16240"),
    Loss("fkl", "forward KL", forward_kl_link, bradley_terry, 1, "arXiv 2309.16240"),
    Loss(
        "alpha",
        "α-divergence",
        alpha_link,
        bradley_terry,
        1,
        "arXiv 2309.16240",
        parameters=("alpha",),
    ),
    Loss("jeffreys", "Jeffreys", jeffreys_link, bradley_terry, 2, "arXiv 2309.16240"),
    Loss("chi2", "χ² (χPO)", chi_squared_link, bradley_terry, 2, "arXiv 2407.13399"),
    Loss("ipo", "reverse KL (IPO)", identity_link, squared_distance, 1, "arXiv 2310.12036"),
    Loss("squared", "squared log (SquaredPO)", squared_link, bradley_terry, 1, "arXiv 2602.06788"),
)
# Every other divergence with the two other shapes, named DIVERGENCE-SHAPE; each combination has
# one name, so reverse KL's are sigmoid, hinge and ipo.
CROSSED = tuple(
    replace(
        loss,
        name=f"{loss.name}-{shape}",
        divergence=f"{loss.divergence}, {shape} loss",
        preference_loss=preference_loss,
    )
    for loss in NAMED
    if loss.link is not identity_link
    for shape, preference_loss in (("hinge", hinge), ("squared", squared_distance))
)
LOSSES = {loss.name: loss for loss in NAMED + CROSSED}


@dataclass(frozen=True)
class Objective:
    """What a policy is trained for: a loss of `LOSSES`, its strength β, α, and how they are used.

    `normalize` = mean divides a completion's g(ρ) − g(0) by its tokens: IPO as TRL has it, and
    TRL's `sigmoid_norm`. With L the loss of a margin, `label_smoothing` ε trains on
    (1 − ε)L(Δ) + εL(−Δ), conservative DPO (arXiv 2305.18290's authors; TRL 1.16 has it under `aot`
    alone). `label_noise` ε corrects for labels of which a share ε is flipped, by
    ((1 − ε)L(Δ) − εL(−Δ)) / (1 − 2ε): Robust DPO (arXiv 2403.00409), TRL's `robust`. `chosen_nll`
    is the weight of −log π(y_w) per token, added to the loss (arXiv 2404.19733); TRL's `sft` is its
    mean over all tokens of a batch.

    Raises `ValueError` for a name that `LOSSES` lacks.
    """

    loss: str
    beta: float  # > 0
    alpha: float  # 0 < α < 1
    normalize: Literal["sum", "mean"] = "sum"
    label_smoothing: float = 0.0  # 0 ≤ ε < ½
    label_noise: float = 0.0  # 0 ≤ ε < ½; one of the two is 0
    chosen_nll: float = 0.0  # ≥ 0

    def __post_init__(self):
        if self.loss not in LOSSES:
            raise ValueError(f"unknown loss {self.loss!r}; choose one of {', '.join(LOSSES)}")

    @property
    def needs_lengths(self) -> bool:
        """Whether `f_dpo_loss` must be given the completions' lengths."""
        return self.normalize == "mean" or self.chosen_nll > 0

    def implicit_reward(
        self, logp: Tensor, ref_logp: Tensor, lengths: Tensor | None = None
    ) -> Tensor:
        """β·g(ρ), the reward that the policy implies, up to a constant of the prompt.

        Args: `logp`, `ref_logp`: summed completion log-probabilities in nats, equal shapes;
        `lengths`: the completions' tokens, which `normalize` = mean needs: β(g(ρ) − g(0)) / tokens.
        """
        link = LOSSES[self.loss].link
        log_ratio = logp - ref_logp
        reward = self.beta * link(log_ratio, self.alpha)
        if self.normalize == "sum":
            return reward
        # g(0) cancels between two completions of equal length alone.
        at_reference = self.beta * link(log_ratio.new_zeros(()), self.alpha)
        return (reward - at_reference) / _known(lengths)

    def preference_loss(self, chosen_reward: Tensor, rejected_reward: Tensor) -> Tensor:
        """Loss per pair, from implicit rewards: [pairs] each, [pairs]; without `chosen_nll`."""
        shape = LOSSES[self.loss].preference_loss
        margin = chosen_reward - rejected_reward
        flipped = self.label_smoothing - self.label_noise / (1 - 2 * self.label_noise)
        if not flipped:
            return shape(margin, self.beta)
        return (1 - flipped) * shape(margin, self.beta) + flipped * shape(-margin, self.beta)


def f_dpo_loss(
    objective: Objective,
    chosen_logp: Tensor,
    rejected_logp: Tensor,
    ref_chosen_logp: Tensor,
    ref_rejected_logp: Tensor,
    chosen_lengths: Tensor | None = None,
    rejected_lengths: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """(loss, chosen implicit reward, rejected implicit reward), each [pairs].

    Args: the four summed log-probability vectors [pairs] in nats, and where the objective
    `needs_lengths` the completions' tokens [pairs]. Finite, with a gradient of the exact one's
    sign, for |ρ| up to 10⁴ in float32.
    """
    chosen = objective.implicit_reward(chosen_logp, ref_chosen_logp, chosen_lengths)
    rejected = objective.implicit_reward(rejected_logp, ref_rejected_logp, rejected_lengths)
    losses = objective.preference_loss(chosen, rejected)
    if objective.chosen_nll:
        losses = losses - objective.chosen_nll * chosen_logp / _known(chosen_lengths)
    return losses, chosen, rejected


def capped(losses: Tensor, untrained: Tensor) -> Tensor:
    """Each pair's loss, or `CAP` times that of the untrained policy where that is less.

    [pairs] each. A run whose mean over test pairs is below the mean of `untrained` has optimised
    its objective. The mean alone is no criterion: a few exponentials can rule it. Nor are the
    median and the share that fell: but for ipo they only say which completion of a pair is
    preferred, at any β.
    """
    return losses.minimum(CAP * untrained)


def _known(lengths: Tensor | None) -> Tensor:
    if lengths is None:
        raise ValueError("normalize = mean and chosen_nll need the completions' lengths")
    return lengths
