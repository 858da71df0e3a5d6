"""Completions as branches behind one shared prompt, in one row without padding."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import AttentionInterface

ATTENTION = "branches"


@dataclass(frozen=True)
class Branches:
    """Distinct sequences of one or more prompts, flattened to T tokens.

    Each prompt stands once, followed by its completions without their last token, which is only
    ever predicted. S sequences, L the longest prompt + completion − 1, C completion tokens.
    """

    input_ids: Tensor  # [1, T]
    position_ids: Tensor  # [1, T], restarted behind the prompt in each completion
    rows: Tensor  # [S, L], where in T each position of each sequence stands; padded with 0
    home: Tensor  # [T], where in the flattened [S·L] each token's attention output is read
    sources: Tensor  # [C], the token in T whose hidden state predicts a completion token
    targets: Tensor  # [C], the completion token ids
    sequence: Tensor  # [C], the sequence that each completion token belongs to

    @property
    def sequences(self) -> int:
        return self.rows.shape[0]

    @property
    def attention(self) -> dict[str, Tensor]:
        """What the model passes on to `branch_attention`."""
        return {"branch_rows": self.rows, "branch_home": self.home}

    def to(self, device: torch.device) -> "Branches":
        return Branches(**{name: value.to(device) for name, value in vars(self).items()})


def pack(prompts: Sequence[tuple[Sequence[int], Sequence[Sequence[int]]]]) -> Branches:
    """Pack (prompt ids, completions' ids) in order; sequences are numbered as they come.

    Raises `ValueError` for an empty prompt or completion.
    """
    ids: list[int] = []
    positions: list[int] = []
    rows: list[list[int]] = []
    sources: list[int] = []
    targets: list[int] = []
    sequence: list[int] = []
    for prompt, completions in prompts:
        if not prompt or not all(completions):
            raise ValueError("a prompt and each of its completions need at least one token")
        prefix = list(range(len(ids), len(ids) + len(prompt)))
        ids.extend(prompt)
        positions.extend(range(len(prompt)))
        for completion in completions:
            branch = list(range(len(ids), len(ids) + len(completion) - 1))
            ids.extend(completion[:-1])
            positions.extend(range(len(prompt), len(prompt) + len(branch)))
            sources.extend([prefix[-1], *branch])
            targets.extend(completion)
            sequence.extend([len(rows)] * len(completion))
            rows.append(prefix + branch)
    padded = _pad(rows)
    return Branches(
        input_ids=torch.tensor([ids]),
        position_ids=torch.tensor([positions]),
        rows=padded,
        home=_home(rows, padded.shape[1], len(ids)),
        sources=torch.tensor(sources),
        targets=torch.tensor(targets),
        sequence=torch.tensor(sequence),
    )


def _pad(rows: list[list[int]]) -> Tensor:
    longest = max(map(len, rows))
    return torch.tensor([row + [0] * (longest - len(row)) for row in rows])


def _home(rows: list[list[int]], longest: int, tokens: int) -> Tensor:
    home = [0] * tokens
    for number, row in reversed(list(enumerate(rows))):  # a shared prompt: the first branch's
        for position, token in enumerate(row):
            home[token] = number * longest + position
    return torch.tensor(home)


def branch_attention(
    module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    branch_rows: Tensor,
    branch_home: Tensor,
    scaling: float | None = None,
    **_,
) -> tuple[Tensor, None]:
    """Attention within each sequence of a `Branches` row; [1, heads, T, d] → [1, T, heads, d].

    The sequences are laid out right-padded, so causality alone keeps padding out of every output
    that is read back, and the mask-free kernel serves. A shared prompt's queries are computed once
    a branch; that is attention alone, a small part of the work.
    """
    query, key, value = (_unpack(x, branch_rows) for x in (query, key, value))
    grouped = query.shape[1] != key.shape[1]
    out = F.scaled_dot_product_attention(
        query, key, value, is_causal=True, scale=scaling, enable_gqa=grouped
    )
    return out.transpose(1, 2).flatten(0, 1).index_select(0, branch_home).unsqueeze(0), None


def _unpack(x: Tensor, rows: Tensor) -> Tensor:
    """[1, heads, T, d] → [S, heads, L, d]."""
    flat = x[0].transpose(0, 1).index_select(0, rows.flatten())
    return flat.unflatten(0, rows.shape).transpose(1, 2)


AttentionInterface.register(ATTENTION, branch_attention)
