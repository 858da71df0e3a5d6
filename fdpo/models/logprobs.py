"""Log-probabilities of completion tokens from hidden states, without a (tokens × vocabulary) block.

A next-token log-probability needs the logits of its position alone, so they are made a tile of
positions at a time. Where the head is frozen (LoRA trains the layers below it) a token's gradient
with respect to its hidden state, W[y] − softmax(Wh)·W, can be made in the same tile and kept: the
backward pass multiplies it by the upstream scalar, and no logits are stored or made twice. A head
that is trained makes them a second time in the backward pass.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

from fdpo.core.device import autocast, device
from fdpo.models.attention import BRANCHES
from fdpo.models.causal_lm import backbone
from fdpo.models.lm_head import LMHead, lm_head
from fdpo.models.micro_batches import MicroBatch
from fdpo.models.packing import Branches, pack

TILE_ELEMENTS = 2**24  # logits in one tile: 64 MB in float32


class _TokenLogProbs(torch.autograd.Function):
    """log softmax(logits of hidden)[targets] per row, for a head that takes no gradient."""

    @staticmethod
    def forward(ctx, hidden: Tensor, head: LMHead, targets: Tensor) -> Tensor:
        weight = head.weight
        logps = hidden.new_empty(
            len(targets), dtype=torch.promote_types(hidden.dtype, torch.float32)
        )
        gradient = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
        rows = max(1, TILE_ELEMENTS // weight.shape[0])
        for start in range(0, len(targets), rows):
            tile = slice(start, start + rows)
            logits = head.logits(hidden[tile])
            target = logits.gather(1, targets[tile, None])
            slope = head.slope(logits) if gradient is not None else None
            top = logits.amax(dim=1, keepdim=True)
            exponentials = logits.sub_(top).exp_()
            total = exponentials.sum(dim=1, keepdim=True)
            logps[tile] = (target - top - total.log()).squeeze(1)
            if gradient is not None:
                chosen = weight[targets[tile]]
                if slope is not None:
                    chosen = chosen * slope.gather(1, targets[tile, None]).to(weight.dtype)
                    exponentials.mul_(slope)
                expected = exponentials.to(weight.dtype) @ weight
                gradient[tile] = (chosen - expected / total) * head.scale
        if gradient is not None:
            ctx.save_for_backward(gradient)
        return logps

    @staticmethod
    def backward(ctx, upstream: Tensor):
        (gradient,) = ctx.saved_tensors
        return (gradient * upstream[:, None]).to(gradient.dtype), None, None


def _plain_logps(hidden: Tensor, head: LMHead, targets: Tensor) -> Tensor:
    return head.logits(hidden).log_softmax(dim=1).gather(1, targets[:, None])[:, 0]


def completion_hidden(causal_lm: PreTrainedModel, branches: Branches) -> Tensor:
    """Last hidden states [C, hidden] that predict the completion tokens, from one forward pass.

    The LM head is not called. A model whose attention is not Transformers' interface runs each
    sequence as a row of its own, prompt and all; right padding is out of a causal model's sight.
    """
    layers = backbone(causal_lm)
    if causal_lm.config._attn_implementation == BRANCHES:
        packed = layers(
            input_ids=branches.input_ids,
            position_ids=branches.position_ids,
            use_cache=False,
            **branches.attention,
        )
        return packed.last_hidden_state[0].index_select(0, branches.predictor_index)
    rows = layers(input_ids=branches.input_ids[0][branches.gather_index], use_cache=False)
    place = branches.output_index[branches.predictor_index]
    return rows.last_hidden_state.flatten(0, 1).index_select(0, place)


def token_logps(hidden: Tensor, head: LMHead, targets: Tensor) -> Tensor:
    """log π(target | context) per token.

    Differentiable in `hidden` and in a head that is not frozen; gradients are exact.

    Args:
        hidden: last hidden states, [C, hidden].
        head: the LM head.
        targets: token ids, [C].

    Returns: [C] in nats, float32 or wider.
    """
    if head.requires_grad and torch.is_grad_enabled():
        rows = max(1, TILE_ELEMENTS // len(head.weight))
        tiles = zip(hidden.split(rows), targets.split(rows), strict=True)
        logps = [checkpoint(_plain_logps, h, head, t, use_reentrant=False) for h, t in tiles]
        return torch.cat(logps)
    return _TokenLogProbs.apply(hidden, head, targets)


def sequence_logps(causal_lm: PreTrainedModel, branches: Branches) -> Tensor:
    """log π(completion | prompt) of each sequence, [S] float64 in nats, summed over its tokens."""
    hidden = completion_hidden(causal_lm, branches)
    values = token_logps(hidden, lm_head(causal_lm), branches.targets).double()
    return values.new_zeros(branches.sequences).index_add(0, branches.sequence, values)


def forward_logps(
    model: PreTrainedModel, prompt: Sequence[int], completions: Sequence[Sequence[int]]
) -> list[float]:
    """log π(completion | prompt) of each completion in nats, all from one forward pass."""
    if not completions:
        return []
    branches = pack([(prompt, completions)]).to(device())
    with torch.inference_mode(), autocast():
        return sequence_logps(model, branches).tolist()


def forward_token_logps(
    model: PreTrainedModel, prompt: Sequence[int], completions: Sequence[Sequence[int]]
) -> list[list[float]]:
    """log π of each token of each completion in nats, all from one forward pass."""
    branches = pack([(prompt, completions)]).to(device())
    with torch.inference_mode(), autocast():
        hidden = completion_hidden(model, branches)
        values = token_logps(hidden, lm_head(model), branches.targets).double()
    return [part.tolist() for part in values.split([len(ids) for ids in completions])]


def pair_logps(causal_lm: PreTrainedModel, batch: MicroBatch) -> tuple[Tensor, Tensor]:
    """(chosen, rejected) completion log-probabilities under the policy, each [pairs] in nats."""
    logps = sequence_logps(causal_lm, batch.branches)
    return logps[batch.chosen], logps[batch.rejected]
