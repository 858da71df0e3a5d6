"""Sampling that does not depend on the batch: every completion draws from its own numbers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from fdpo.core.randomness import RandomStreams
from fdpo.decoding.cached_decoder import CachedDecoder, compaction_order, left_padded


@dataclass(frozen=True)
class Sampled:
    """A completion: its token ids, whether end-of-text closed it, and log π(ids | prompt).

    `logp` is that of the unmodified next-token distribution, in nats, summed over `ids`. Where they
    were asked for, `hidden` [tokens, hidden] are the model's last hidden states at the place before
    each token, and `measured` the sums over these places of what was measured.
    """

    ids: list[int]
    finished: bool
    logp: float
    hidden: Tensor | None = field(default=None, compare=False, repr=False)
    measured: tuple[float, ...] = ()


def uniforms(
    streams: RandomStreams, purpose: str, prompt_id: int, samples: int, steps: int
) -> np.ndarray:
    """The uniform numbers of one prompt's completions, [samples, steps], float32 in [0, 1)."""
    own = (streams("sample", purpose, prompt_id, sample) for sample in range(samples))
    return np.stack([numbers.random(steps, dtype=np.float32) for numbers in own])


@torch.inference_mode()
def sample(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    draws: Sequence[np.ndarray],
    end_ids: Sequence[int],
    warp: Callable[[Any, Any], Tensor] | None = None,
    keep_hidden: bool = False,
    measure: Callable[[Tensor], Tensor] | None = None,
) -> list[list[Sampled]]:
    """Sample completions of a batch of prompts by inverting the cumulative distribution.

    Args:
        model: a causal LM, within `cached_attention`.
        prompts: token ids of each prompt, of any lengths.
        draws: uniform numbers [samples, steps] of each prompt; step t decides token t.
        end_ids: ids that end a completion.
        warp: processors of the logits (temperature, top-k, …), called with each row's ids so far,
            `ABSENT` on the left of shorter prompts.
        keep_hidden: whether each completion comes with its hidden states.
        measure: of unmodified logits [rows, vocabulary], float64 numbers [rows, kinds] to sum over
            each completion's tokens.

    Returns: the completions of each prompt in order. Without `warp` they are unbiased draws from
    the model; any other serve no estimate of KL or entropy.
    """
    samples, steps = draws[0].shape
    numbers = torch.from_numpy(np.stack(draws, axis=1)).flatten(0, 1).to(model.device)
    ends = torch.tensor(list(end_ids), device=model.device)
    history = left_padded(prompts, model.device)
    decoder = CachedDecoder(model, history, copies=samples)
    history = history.repeat(samples, 1)
    going = torch.arange(len(history), device=model.device)  # the rows that have not ended
    logps = torch.zeros(len(history), dtype=torch.float64, device=model.device)
    sums: Tensor | None = None  # [rows, kinds] of what is measured
    completions: dict[int, tuple[list[int], bool, float]] = {}
    states = decoder.hidden.new_empty(
        len(history), steps if keep_hidden else 0, decoder.hidden.shape[1]
    )
    for step in range(steps):
        if keep_hidden:
            states[going, step] = decoder.hidden
        logits = decoder.next_logits().float()
        warped = warp(history, logits.clone()) if warp else logits
        tokens = invert_cdf(warped, numbers[going, step])
        logps[going] += (logits.gather(1, tokens[:, None])[:, 0] - logits.logsumexp(1)).double()
        if measure:
            values = measure(logits)
            sums = values.new_zeros(len(logps), values.shape[1]) if sums is None else sums
            sums[going] += values
        history = torch.cat([history, tokens[:, None]], dim=1)
        finished = torch.isin(tokens, ends)
        ended = finished | (step == steps - 1)
        if ended.any():
            ends_now = (going, history[:, -step - 1 :], finished, logps[going])
            columns = (column[ended].tolist() for column in ends_now)
            completions |= {row: of_row for row, *of_row in zip(*columns, strict=True)}
            order = compaction_order(ended)
            if len(order) == 0:
                break
            going, history = going[order], history[order]
            decoder.keep(order)
        decoder.advance(history)
    in_order = [
        Sampled(
            *completions[row],
            hidden=states[row, : len(completions[row][0])] if keep_hidden else None,
            measured=() if sums is None else tuple(sums[row].tolist()),
        )
        for row in range(len(numbers))
    ]
    return [in_order[prompt :: len(prompts)] for prompt in range(len(prompts))]


def invert_cdf(logits: Tensor, numbers: Tensor) -> Tensor:
    """The token at which the cumulative softmax of a row first exceeds its number: [rows]."""
    cumulative = logits.softmax(dim=1).cumsum(dim=1)
    total = cumulative[:, -1]
    below = torch.nextafter(total, torch.zeros_like(total))  # rounding may not reach past the end
    target = torch.minimum(numbers * total, below)
    return torch.searchsorted(cumulative, target[:, None], right=True)[:, 0]
