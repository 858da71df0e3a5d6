"""How far the policy has moved from the reference, from next-token probabilities on its samples."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from fdpo.models.lm_head import LMHead

CACHE_ROWS = 16  # rows of [V] worked on at once: a few 3 MB buffers stay in a CPU's cache


@dataclass(frozen=True)
class TokenDivergences:
    """One number per sampled token, all [T] float64 on the CPU, in nats.

    π and r are the policy's and the reference's next-token distributions over the vocabulary at
    that token's place, m = (π + r) / 2. Every sum runs over the whole vocabulary.
    """

    policy_logp: torch.Tensor
    """log π of the sampled token."""
    reference_logp: torch.Tensor
    """log r of the sampled token."""
    kl: torch.Tensor
    """KL(π‖r) = sum_v π(v) (log π(v) - log r(v)) >= 0."""
    forward_kl: torch.Tensor
    """KL(r‖π) = sum_v r(v) (log r(v) - log π(v)) >= 0."""
    jsd: torch.Tensor
    """(KL(π‖m) + KL(r‖m)) / 2, from 0 to log 2."""
    entropy: torch.Tensor
    """-sum_v π(v) log π(v) >= 0."""
    control: torch.Tensor
    """w(y) - sum_v π(v) w(v) of the sampled token y, in units of the tokens' values w: of mean 0
    under π, given the tokens before it."""


@torch.no_grad()
def token_divergences(
    policy_hidden: torch.Tensor,
    reference_hidden: torch.Tensor,
    policy_head: LMHead,
    reference_head: LMHead,
    sampled_ids: torch.Tensor,
    token_values: torch.Tensor | None = None,
    tile_tokens: int = 128,
) -> TokenDivergences:
    """Exact next-token divergences at each sampled token, from last hidden states.

    policy_hidden, reference_hidden: [T, H], the states that *predict* the sampled tokens: those of
    the place before each, over completion tokens only. policy_head, reference_head: over V tokens.
    sampled_ids: [T] int64. token_values: w, [V] float32; 0 where not given. No more
    than two [tile_tokens, V] blocks of logits exist at a time (25 MB each at 128 x 49,152).

    Logits and probabilities are float32, normalisers and results float64. Divergences and entropy
    are cut at their bounds, which rounding can pass by about 1e-7; log-probabilities are not.

    Raises ValueError when the shapes do not fit.
    """
    tokens = len(sampled_ids)
    hidden_shape = (tokens, policy_head.weight.shape[-1])
    if policy_hidden.shape != hidden_shape or reference_hidden.shape != hidden_shape:
        raise ValueError(
            f"hidden states of {tuple(policy_hidden.shape)} and {tuple(reference_hidden.shape)}: "
            f"{hidden_shape} is needed, one row per sampled token"
        )
    if policy_head.weight.shape != reference_head.weight.shape:
        raise ValueError(
            f"heads of {tuple(policy_head.weight.shape)} and"
            f" {tuple(reference_head.weight.shape)}: not equal"
        )
    if token_values is None:
        token_values = torch.zeros(len(policy_head.weight))
    token_values = token_values.to(policy_hidden.device)
    columns = torch.empty(7, tokens, dtype=torch.float64)
    for start in range(0, tokens, tile_tokens):
        tile = slice(start, start + tile_tokens)
        policy_logits = policy_head.logits(policy_hidden[tile]).float()
        reference_logits = reference_head.logits(reference_hidden[tile]).float()
        for first in range(0, len(policy_logits), CACHE_ROWS):
            rows = slice(first, first + CACHE_ROWS)
            places = slice(start + first, start + first + len(policy_logits[rows]))
            columns[:, places] = _consume_rows(
                policy_logits[rows], reference_logits[rows], sampled_ids[places], token_values
            ).cpu()
    return TokenDivergences(*columns)


def _consume_rows(
    a: torch.Tensor, b: torch.Tensor, sampled_ids: torch.Tensor, token_values: torch.Tensor
) -> torch.Tensor:
    """The columns of `TokenDivergences` for rows of policy logits a and reference logits b.

    a, b: [rows, V] float32, overwritten. Written with log π = a - log_z_a and log r = b - log_z_b,
    so that the difference of two large normalisers is taken in float64: as float32 log-softmaxes
    the same formulas are ten times less exact, and take two more exponentials.
    """
    p, log_z_a = _exponentiate(a)
    r, log_z_b = _exponentiate(b)
    policy_logp = a.gather(1, sampled_ids[:, None]).double() - log_z_a
    reference_logp = b.gather(1, sampled_ids[:, None]).double() - log_z_b
    entropy = log_z_a - _dot(p, a)
    control = token_values[sampled_ids, None].double() - (p @ token_values)[:, None].double()
    log_ratio = a.sub_(b).sub_((log_z_a - log_z_b).float())
    kl, forward_kl = _dot(p, log_ratio), -_dot(r, log_ratio)
    # With t = (π - r) / (π + r), log(π / m) = log(1 + t) and log(r / m) = log(1 - t): where π is
    # near r no two large numbers are subtracted, where one is 0 nothing overflows.
    limits = torch.finfo(p.dtype)
    both = torch.add(p, r, out=a).clamp_min_(limits.tiny)
    t = torch.sub(p, r, out=b).div_(both).clamp_(limits.eps - 1, 1 - limits.eps)
    jsd = (_dot(p, torch.log1p(t, out=a)) + _dot(r, t.neg_().log1p_())) / 2
    return torch.cat(
        [
            policy_logp,
            reference_logp,
            kl.clamp_min(0),
            forward_kl.clamp_min(0),
            jsd.clamp(0, math.log(2)),
            entropy.clamp_min(0),
            control,
        ],
        dim=1,
    ).T


def _exponentiate(logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Probabilities and log normalisers [rows, 1] of `logits`, which end shifted to maximum 0."""
    logits.sub_(logits.amax(dim=1, keepdim=True))
    weights = logits.exp()
    normaliser = weights.sum(dim=1, keepdim=True)
    return weights.div_(normaliser), normaliser.double().log()


def _dot(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return torch.linalg.vecdot(x, y)[:, None].double()


def sequence_kl(kl: torch.Tensor, lengths: Sequence[int]) -> torch.Tensor:
    """Rao-Blackwellised estimate of the sequence-level KL(π‖π_ref): [N] nats, one per completion.

    sum_t KL(π(.|x, y_<t) ‖ π_ref(.|x, y_<t)) over the completion's tokens, with end-of-text where
    it was sampled. Unbiased for y drawn from π untruncated at temperature 1 (where a length limit
    ends sampling, for the KL of the distributions so limited), never negative, and of no more
    variance than `monte_carlo_kl`: Amini, Vieira and Cotterell, arXiv 2504.10637.

    kl: [T] float64, the completions' `TokenDivergences.kl` one after another; lengths: their N
    token counts. Raises ValueError when the lengths do not sum to T: a prompt's, padding's or
    later tokens have slipped in.
    """
    return divergence_sums(kl, lengths)


def monte_carlo_kl(
    policy_logp: torch.Tensor, reference_logp: torch.Tensor, lengths: Sequence[int]
) -> torch.Tensor:
    """Plain estimate of the sequence-level KL(π‖π_ref): [N] nats, log π(y|x) - log π_ref(y|x).

    Unbiased on the same terms as `sequence_kl`, but noisier, and negative on a sample that the
    reference likes better. Arguments and errors as there.
    """
    return divergence_sums(policy_logp - reference_logp, lengths)


def divergence_sums(per_token: torch.Tensor, lengths: Sequence[int]) -> torch.Tensor:
    """Per completion, the sum of per-token divergences under the policy's samples: [N] nats.

    For `forward_kl`, `jsd` and `control`. Label the first two so: with y from π they do not
    estimate the sequence-level forward KL or JSD, whose expectations are over other distributions
    (`sequence_divergences`); only for KL(π‖π_ref) does the chain rule make the sum the sequence's
    (`sequence_kl`, same arguments).
    """
    if per_token.ndim != 1 or sum(lengths) != len(per_token):
        raise ValueError(
            f"completions of {sum(lengths)} tokens in all, values of {tuple(per_token.shape)}"
        )
    return torch.stack([part.sum() for part in per_token.split(list(lengths))])


def sequence_divergences(
    policy_samples: np.ndarray, reference_samples: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Forward KL(π_ref‖π) and Jensen–Shannon divergence of whole completions, [prompts] in nats.

    Plain estimates per prompt, unbiased on the terms of `sequence_kl`: the means of -ρ over the
    reference's samples, and of log(2u / (1 + u)) / 2 over the policy's and log(2 / (1 + u)) / 2
    over the reference's, with u = e^ρ. Exact divergences lie in [0, inf) and [0, log 2]; these can
    lie below by their noise.

    policy_samples, reference_samples: ρ = log π(y|x) - log π_ref(y|x) of each one's samples,
    [prompts, samples].
    """
    forward = -reference_samples.mean(axis=1)
    of_policy = -np.logaddexp(0, -policy_samples).mean(axis=1)
    of_reference = -np.logaddexp(0, reference_samples).mean(axis=1)
    return forward, math.log(2) + (of_policy + of_reference) / 2
