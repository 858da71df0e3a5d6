"""What an interrupted evaluation had sampled, as records: floats in JSON are exact."""

from collections.abc import Sequence

import torch

from fdpo.core.validation import Strict
from fdpo.decoding.sampling import Sampled
from fdpo.evaluation.metrics.divergence import TokenDivergences


class CachedSample(Strict):
    """A sampled completion without its text, which its ids give."""

    ids: list[int]
    finished: bool
    logp: float

    @classmethod
    def of(cls, sampled: Sampled) -> "CachedSample":
        """The record of a sample, without its hidden states."""
        return cls(ids=sampled.ids, finished=sampled.finished, logp=sampled.logp)

    def sampled(self) -> Sampled:
        """The sample again, without hidden states."""
        return Sampled(self.ids, self.finished, self.logp)


class CachedPrompt(Strict):
    """A prompt's samples, and the divergences of all their tokens, one list per kind."""

    samples: list[CachedSample]
    divergences: dict[str, list[float]]

    @classmethod
    def of(cls, samples: Sequence[Sampled], divergences: TokenDivergences) -> "CachedPrompt":
        """The record of a prompt's samples and of their tokens' divergences."""
        columns = {name: column.tolist() for name, column in vars(divergences).items()}
        return cls(samples=list(map(CachedSample.of, samples)), divergences=columns)

    def token_divergences(self) -> TokenDivergences:
        """The divergences of the samples' tokens, one sample after another."""
        columns = self.divergences.items()
        return TokenDivergences(
            **{name: torch.tensor(column, dtype=torch.float64) for name, column in columns}
        )
