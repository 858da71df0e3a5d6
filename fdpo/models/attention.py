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
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """Attention within each sequence of a `Branches` row; [1, heads, T, d] → [1, T, heads, d].

    The sequences are laid out right-padded, so causality alone keeps padding out of every output
    that is read back, and without a window that binds the mask-free kernel serves. A window counts
    tokens of the sequence, not of the row. A shared prompt's queries are computed once per branch;
    that is attention alone, a small part of the work.
    """
    _require_known(module, others)
    query, key, value = (_unpack(states, gather_index) for states in (query, key, value))
    length = query.shape[2]
    mask = None
    if sliding_window is not None and sliding_window < length:
        mask = _window_mask(length, sliding_window, query.device)
    if softcap is None:
        out = F.scaled_dot_product_attention(
            query,
            key,
            value,
            attn_mask=mask,
            is_causal=mask is None,
            scale=scaling,
            enable_gqa=query.shape[1] != key.shape[1],
        )
    else:
        out = _capped(query, key, value, mask, scaling, softcap)
    return out.transpose(1, 2).flatten(0, 1).index_select(0, output_index).unsqueeze(0), None


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


def _window_mask(length: int, window: int, device: torch.device) -> Tensor:
    """[length, length], true where a query may attend to a key: the last `window` up to itself."""
    distance = torch.arange(length, device=device)[:, None] - torch.arange(length, device=device)
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
        mask = _window_mask(key.shape[2], key.shape[2], key.device)[-query.shape[2] :]
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
