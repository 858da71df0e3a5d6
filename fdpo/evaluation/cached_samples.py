"""What evaluation measured of a prompt, as records: floats in JSON are exact."""

from collections.abc import Sequence

import torch

from fdpo.core.validation import Strict
from fdpo.decoding.sampling import Sampled
from fdpo.evaluation.metrics.divergence import TokenDivergences


class Sample(Strict):
    """A sampled completion without its text, which its ids give."""

    ids: list[int]
    finished: bool
    logp: float

    @classmethod
    def of(cls, one: Sampled) -> "Sample":
        return cls(ids=one.ids, finished=one.finished, logp=one.logp)

    def sampled(self) -> Sampled:
        return Sampled(self.ids, self.finished, self.logp)


class Measured(Strict):
    """A prompt's samples, and the divergences of all their tokens, a list a kind."""

    samples: list[Sample]
    divergences: dict[str, list[float]]

    @classmethod
    def of(cls, row: Sequence[Sampled], divergences: TokenDivergences) -> "Measured":
        columns = {name: column.tolist() for name, column in vars(divergences).items()}
        return cls(samples=[Sample.of(one) for one in row], divergences=columns)

    def token_divergences(self) -> TokenDivergences:
        columns = self.divergences.items()
        return TokenDivergences(
            **{name: torch.tensor(column, dtype=torch.float64) for name, column in columns}
        )
