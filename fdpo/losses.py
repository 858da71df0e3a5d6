"""The five f-DPO losses as pure functions of four log-probability vectors, β and α.

With ρ = log π(y|x) − log π_ref(y|x) summed over completion tokens and u = e^ρ, a divergence with
generator f gives the implicit reward β·f′(u) (Wang et al., arXiv 2309.16240, theorem 1). `g(ρ)`
below is f′(u) up to a constant, which cancels between chosen and rejected.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

LOSSES = ("sigmoid", "hinge", "jsd", "fkl", "alpha")

# e^x overflows float32 at 88.7. Past this exponent g goes on along its tangent: still increasing,
# still C¹, and far beyond any log-ratio of a run that has not diverged.
MAX_EXPONENT = 60.0


def g(loss: str, log_ratio: Tensor, alpha: float) -> Tensor:
    """The link g(ρ) between log-ratio and implicit reward.

    | loss           | g(ρ)                | source                           |
    |----------------|---------------------|----------------------------------|
    | sigmoid, hinge | ρ                   | arXiv 2305.18290, arXiv 2305.10425 |
    | jsd            | log 2 + log σ(ρ)    | arXiv 2309.16240, table 1        |
    | fkl            | −e^{−ρ}             | "                                |
    | alpha          | (1 − e^{−αρ}) / α   | "; α → 0 is ρ, α → 1 is fkl + 1  |

    The α-divergence has 0 < α < 1; TRL's `f_alpha_divergence_coef` is 1 − α. The two exponentials
    are extended linearly below ρ = −MAX_EXPONENT (fkl) and ρ = −MAX_EXPONENT / α (alpha).

    Args: `log_ratio` of any shape, in nats. Returns the same shape and dtype.
    Raises `ValueError` for an unknown loss.
    """
    if loss in ("sigmoid", "hinge"):
        return log_ratio
    if loss == "jsd":
        return math.log(2) + F.logsigmoid(log_ratio)
    if loss == "fkl":
        return -_exp(-log_ratio)
    if loss == "alpha":
        return -_expm1(-alpha * log_ratio) / alpha
    raise ValueError(f"unknown loss {loss!r}; choose one of {', '.join(LOSSES)}")


def _exp(x: Tensor) -> Tensor:
    """e^x, extended linearly and C¹ past MAX_EXPONENT."""
    return torch.exp(x.clamp(max=MAX_EXPONENT)) * (1 + F.relu(x - MAX_EXPONENT))


def _expm1(x: Tensor) -> Tensor:
    """e^x − 1 without cancellation near 0, extended linearly and C¹ past MAX_EXPONENT."""
    excess = math.exp(MAX_EXPONENT) * F.relu(x - MAX_EXPONENT)
    return torch.expm1(x.clamp(max=MAX_EXPONENT)) + excess


def implicit_reward(loss: str, logp: Tensor, ref_logp: Tensor, beta: float, alpha: float) -> Tensor:
    """β·g(ρ), the reward that the policy implies, up to a constant of the prompt.

    Args: `logp`, `ref_logp`: summed completion log-probabilities in nats, equal shapes.
    """
    return beta * g(loss, logp - ref_logp, alpha)


def preference_loss(loss: str, chosen_reward: Tensor, rejected_reward: Tensor) -> Tensor:
    """Loss a pair, from implicit rewards: −log σ(Δ), or for `hinge` max(0, 1 − Δ).

    Δ = chosen − rejected is the margin; Bradley–Terry (arXiv 2309.16240, equation 10) and SLiC
    (arXiv 2305.10425, equation 1 with the log-ratio in place of the log-probability).
    Args and result: [pairs].
    """
    margin = chosen_reward - rejected_reward
    return F.relu(1 - margin) if loss == "hinge" else -F.logsigmoid(margin)


def f_dpo_loss(
    loss: str,
    chosen_logp: Tensor,
    rejected_logp: Tensor,
    ref_chosen_logp: Tensor,
    ref_rejected_logp: Tensor,
    beta: float,
    alpha: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """(loss, chosen implicit reward, rejected implicit reward), each [pairs].

    Args: the four summed log-probability vectors [pairs] in nats; β > 0; 0 < α < 1 (used by
    `alpha` alone). Finite, with a gradient of the right sign, for |ρ| up to 10⁴ in float32.
    """
    chosen = implicit_reward(loss, chosen_logp, ref_chosen_logp, beta, alpha)
    rejected = implicit_reward(loss, rejected_logp, ref_rejected_logp, beta, alpha)
    return preference_loss(loss, chosen, rejected), chosen, rejected
