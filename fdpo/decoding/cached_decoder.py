"""Next-token logits of many rows at once, with a cache that copies nothing to grow."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer

from fdpo.core.device import autocast
from fdpo.models.causal_lm import backbone
from fdpo.models.lm_head import lm_head

ABSENT = -1  # fills the left of a prompt shorter than its neighbours; equal to no token id
TILE = 1024  # tokens whose logits are made at a time, into memory kept between steps: with GPT-2's
# head and 192 rows 0.22 s on the CPU this was written on, 0.36 s as one product into new memory
ROOM = 64  # tokens by which a cache layer grows: a copy of the layer each time, for little memory


def left_padded(prompts: Sequence[Sequence[int]], device: torch.device) -> Tensor:
    """Prompts' token ids with `ABSENT` on the left of the shorter ones: [prompts, longest]."""
    longest = max(map(len, prompts))
    padded = [[ABSENT] * (longest - len(ids)) + list(ids) for ids in prompts]
    return torch.tensor(padded, device=device)


def compaction_order(ended: Tensor) -> Tensor:
    """Indices of the rows that go on, the last of them in place of those that ended."""
    going = (~ended).nonzero().squeeze(1)
    order = torch.arange(len(going), device=ended.device)
    gaps = ended[: len(going)]
    order[gaps] = going[len(going) - int(gaps.sum()) :]
    return order


class CachedDecoder:
    """A causal LM, within `cached_attention`, that decodes rows with a cache of its own.

    Rows stand in the order copy 0 of every prompt, copy 1 of every prompt, and so on.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        prompts: Tensor,
        copies: int,
        precision: Callable[[], AbstractContextManager] = autocast,
    ):
        """Run each of `prompts` [P, width] once and give each of its copies the cache.

        The layers run within `precision`.
        """
        self.precision = precision
        self.layers = backbone(model)
        self.head = lm_head(model)
        weight = self.head.weight
        self.products = weight.new_empty(len(prompts) * copies, len(weight))
        present = prompts != ABSENT
        with self.precision():
            output = self.layers(
                input_ids=prompts.clamp(min=0),
                attention_mask=present.long(),
                position_ids=(present.cumsum(dim=1) - 1).clamp(min=0),
                past_key_values=DynamicCache(),  # all of it, under a window too: masks say which
                use_cache=True,
            )
        self.hidden = output.last_hidden_state[:, -1].repeat(copies, 1)
        prompt_layers = output.past_key_values.layers
        self.cache_layers = [_Layer(layer.keys, layer.values, copies) for layer in prompt_layers]
        self.cache = Cache(list(self.cache_layers))

    def next_logits(self) -> Tensor:
        """Logits [rows, vocabulary] after each row's history; the next call overwrites them."""
        weight = self.head.weight
        products = self.products[: len(self.hidden)]
        hidden = self.hidden.to(weight.dtype)
        for start in range(0, len(weight), TILE):
            tile = slice(start, start + TILE)
            torch.mm(hidden, weight[tile].T, out=products[:, tile])
        if self.head.bias is not None:
            products += self.head.bias
        return self.head.transform(products.to(torch.promote_types(products.dtype, torch.float32)))

    def advance(self, history: Tensor) -> None:
        """Run the last token of every row's `history` [rows, width], as it stands after `keep`."""
        present = history != ABSENT
        with self.precision():
            output = self.layers(
                input_ids=history[:, -1:],
                attention_mask=present.long(),
                position_ids=present.sum(dim=1, keepdim=True) - 1,
                past_key_values=self.cache,
                use_cache=True,
            )
        self.hidden = output.last_hidden_state[:, -1]

    def keep(self, order: Tensor) -> None:
        """Put row order[i] at i and drop the rest."""
        for layer in self.cache_layers:
            layer.keep(order)


class _Layer(DynamicLayer):
    """A cache layer with room for what comes: nothing in it is copied for a new token."""

    keys: Tensor
    values: Tensor

    def __init__(self, keys: Tensor, values: Tensor, copies: int):
        """Hold every row of `keys` and `values` [rows, heads, length, size] `copies` times."""
        super().__init__()
        self.lazy_initialization(keys, values)
        self._make_room(keys, values, copies)

    def _make_room(self, keys: Tensor, values: Tensor, copies: int = 1) -> None:
        rows, heads, length, _ = keys.shape
        shape = (copies * rows, heads, length + ROOM)
        self.stores = tuple(part.new_empty(*shape, part.shape[3]) for part in (keys, values))
        self._show(copies * rows, length)
        self.keys.unflatten(0, (copies, rows))[:] = keys
        self.values.unflatten(0, (copies, rows))[:] = values

    def _show(self, rows: int, length: int) -> None:
        self.keys, self.values = (store[:rows, :, :length] for store in self.stores)

    def update(
        self, key_states: Tensor, value_states: Tensor, *args, **kwargs
    ) -> tuple[Tensor, Tensor]:
        """Append the states of new tokens [rows, heads, new, size]; return those of all."""
        rows, _, start, _ = self.keys.shape
        end = start + key_states.shape[2]
        if end > self.stores[0].shape[2]:
            self._make_room(self.keys, self.values)
        self._show(rows, end)
        self.keys[:, :, start:] = key_states
        self.values[:, :, start:] = value_states
        return self.keys, self.values

    def keep(self, order: Tensor) -> None:
        """Put row order[i] at i and drop the rest; only rows that move are copied."""
        moved = (order != torch.arange(len(order), device=order.device)).nonzero().squeeze(1)
        for states in (self.keys, self.values):
            states[moved] = states[order[moved]]
        self._show(len(order), self.keys.shape[2])
