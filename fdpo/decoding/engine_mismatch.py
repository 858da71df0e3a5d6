"""How far an engine's log-probabilities are from those of the trainer's own forward pass."""

import math
from collections.abc import Sequence

import numpy as np

from fdpo.core.errors import UserError
from fdpo.core.records import GivenCompletion

ENOUGH = 1_000  # distances after which a wrong reference is refused before the rest is computed


def distances(
    sampled: Sequence[GivenCompletion], token_logps: Sequence[Sequence[float]]
) -> list[float]:
    """|log π_engine − log π_ref| of each token, or per token of a completion that has a sum alone.

    `sampled` has the engine's log-probabilities, `token_logps` those of the reference, in nats.
    """
    found = []
    for item, logps in zip(sampled, token_logps, strict=True):
        if item.logps is not None:
            found += [abs(a - b) for a, b in zip(item.logps, logps, strict=True)]
        elif item.logp is not None:
            found.append(abs(item.logp - math.fsum(logps)) / len(logps))
    return found


def summary(values: Sequence[float]) -> str:
    """Mean and 99th percentile of distances."""
    mean, high = np.mean(values), np.quantile(values, 0.99)
    return f"{mean:.4f} nats per token on average, {high:.4f} at the 99th percentile"


def require_small(values: Sequence[float], bound: float) -> None:
    """Raise `UserError` where the mean of distances is beyond the bound."""
    if values and np.mean(values) > bound:
        raise UserError(
            f"generate: the log-probabilities in prepare.completions are off the reference's by"
            f" {summary(values)}, beyond generate.train.max_mismatch = {bound:g}; name the model,"
            " adapter and chat template that they were sampled with"
        )
