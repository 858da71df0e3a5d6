"""Attention within the branches of packed rows, and over a cache: two of Transformers' interface.

Both compute what the model's own eager attention does, sliding windows and soft-capping included. A
keyword that neither knows (attention sinks, position biases, …) would change the result, so it
raises `UnknownAttention`.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

BRANCHES = "branches"  # packed rows, `branch_attention`
CACHED = "cached"  # padded rows, with a cache or without one, `cached_attention`
# What models hand through to their attention and no implementation reads.
_WITHOUT_EFFECT = {
    "position_ids",
    "cache_position",
    "use_cache",
    "past_key_values",
    "return_dict",
    "output_router_logits",
    "output_hidden_states",
}
_DEFAULTS = {"dropout": 0.0, "is_causal": True, "output_attentions": False}


class UnknownAttention(ValueError):
    """A model asks for attention that is not computed here."""


def branch_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    gather_index: Tensor,
    output_index: Tensor,
    prompt_index: Tensor | None = None,
    branch_index: Tensor | None = None,
    prompt_lengths: Tensor | None = None,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """Attention within each sequence of a `Branches` row; [1, heads, T, d] → [1, T, heads, d].

    The sequences are laid out right-padded, so causality alone keeps padding out of every output
    that is read back, and without a window that binds the mask-free kernel serves. A window counts
    tokens of the sequence, not of the row.

    gather_index: [S, L], the token of each place of each sequence. output_index: [T], where each
    token's output stands among those of all queries. prompt_index, branch_index: [prompts, P] and
    [S, C], the tokens of prompts and of the sequences behind them, whose queries then are computed
    apart, so that a shared prompt's are computed once; without them, once per sequence.
    prompt_lengths: [S].
    """
    _require_known(module, others)

    def attend(queries: Tensor, keys: Tensor, mask: Tensor | None) -> Tensor:
        q, k, v = _unpack(query, queries), _unpack(key, keys), _unpack(value, keys)
        if softcap is not None:
            out = _capped(q, k, v, mask, scaling, softcap)
        else:
            gqa, causal = q.shape[1] != k.shape[1], mask is None
            out = F.scaled_dot_product_attention(
                q, k, v, attn_mask=mask, is_causal=causal, scale=scaling, enable_gqa=gqa
            )
        return out.transpose(1, 2).flatten(0, 1)

    def causal(length: int) -> Tensor | None:
        """The mask of `length` queries from a sequence's start on, where a window binds."""
        if sliding_window is None or sliding_window >= length:
            return None
        return _mask(torch.zeros((), device=query.device), length, length, sliding_window)

    longest = gather_index.shape[1]
    if prompt_index is None or branch_index is None or prompt_lengths is None:
        out = attend(gather_index, gather_index, causal(longest))
    else:
        of_prompts = attend(prompt_index, prompt_index, causal(prompt_index.shape[1]))
        starts = prompt_lengths[:, None, None, None]
        mask = _mask(starts, branch_index.shape[1], longest, sliding_window or longest)
        out = torch.cat([of_prompts, attend(branch_index, gather_index, mask)])
    return out.index_select(0, output_index).unsqueeze(0), None


def cached_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """Transformers' "sdpa" with soft-capping; [B, heads, N, d] → [B, N, heads, d].

    The mask holds padding and windows.
    """
    _require_known(module, others)
    if softcap is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling)
    return _capped(query, key, value, attention_mask, scaling, softcap).transpose(1, 2), None


def _require_known(module: nn.Module, others: dict[str, Any]) -> None:
    for name, value in others.items():
        if value is None or name in _WITHOUT_EFFECT:
            continue
        if name not in _DEFAULTS or value != _DEFAULTS[name]:
            raise UnknownAttention(f"{type(module).__name__} asks its attention for {name}")


def _mask(start: Tensor, queries: int, keys: int, window: int) -> Tensor:
    """[…, queries, keys], true where a query may attend to a key: the last `window` up to itself.

    `start` is the first query's place among the keys, of a shape that broadcasts.
    """
    places = torch.arange(queries, device=start.device)[:, None] + start
    distance = places - torch.arange(keys, device=start.device)
    return (distance >= 0) & (distance < window)


def _capped(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    scaling: float | None,
    softcap: float,
) -> Tensor:
    """Attention whose scores are softcap·tanh(score / softcap): [B, heads, N, d].

    A `mask` is boolean; none is causality.
    """
    copies = query.shape[1] // key.shape[1]
    key, value = (states.repeat_interleave(copies, dim=1) for states in (key, value))
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    scores = softcap * torch.tanh(query @ key.transpose(2, 3) * scale / softcap)
    if mask is None:
        missing = torch.tensor(key.shape[2] - query.shape[2], device=key.device)
        mask = _mask(missing, query.shape[2], key.shape[2], key.shape[2])
    # The lowest finite number, as Transformers has it: a row of padding alone stays free of NaN.
    scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    weights = scores.softmax(dim=-1, dtype=torch.promote_types(scores.dtype, torch.float32))
    return weights.to(query.dtype) @ value


def _unpack(states: Tensor, gather_index: Tensor) -> Tensor:
    """[1, heads, T, d] → [S, heads, L, d]."""
    flat = states[0].transpose(0, 1).index_select(0, gather_index.flatten())
    return flat.unflatten(0, gather_index.shape).transpose(1, 2)


AttentionInterface.register(BRANCHES, branch_attention)
AttentionInterface.register(CACHED, cached_attention)
AttentionMaskInterface.register(CACHED, sdpa_mask)
