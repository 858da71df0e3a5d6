"""How far an engine's log-probabilities are from those of the trainer's own forward pass."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from fdpo.core.errors import UserError
from fdpo.core.records import GivenCompletion

ENOUGH = 1_000  # distances after which a wrong reference is refused before the rest is computed


def distances(
    sampled: Sequence[GivenCompletion], token_logps: Sequence[Sequence[float]]
) -> list[float]:
    """|log π_engine − log π_ref| of each token, or per token of a completion that has a sum alone.

    Args:
        sampled: completions of a prompt, with the engine's log-probabilities where they have them.
        token_logps: log π_ref of each one's tokens, in nats.
    """
    found = []
    for item, logps in zip(sampled, token_logps, strict=True):
        if item.logps is not None:
            found += [abs(a - b) for a, b in zip(item.logps, logps, strict=True)]
        elif item.logp is not None:
            found.append(abs(item.logp - math.fsum(logps)) / len(logps))
    return found


@dataclass
class Mismatch:
    """Distances of completions so far, in nats, and the bound on their mean."""

    bound: float
    values: list[float]

    def add(self, values: Iterable[float]) -> None:
        """Take more. Raises `UserError` as `require_small`, once there are `ENOUGH`."""
        self.values += values
        if len(self.values) >= ENOUGH:
            self.require_small()

    def __str__(self) -> str:
        mean, high = np.mean(self.values), np.quantile(self.values, 0.99)
        return f"{mean:.4f} nats a token on average, {high:.4f} at the 99th percentile"

    def require_small(self) -> None:
        """Raise `UserError` where the mean is beyond the bound."""
        if self.values and np.mean(self.values) > self.bound:
            raise UserError(
                f"generate: the log-probabilities in prepare.completions are off the reference's by"
                f" {self}, beyond generate.train.max_mismatch = {self.bound:g}; name the model,"
                " adapter and chat template that they were sampled with"
            )
