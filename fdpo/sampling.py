"""Sampling that does not depend on the batch: every completion draws from its own numbers."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from transformers import LogitsProcessorList, PreTrainedModel

from fdpo.device import autocast
from fdpo.randomness import stream


@dataclass(frozen=True)
class Sampled:
    """A completion: its token ids, whether end-of-text closed it, and log π(ids | prompt).

    `logp` is that of the unmodified next-token distribution, in nats, summed over `ids`.
    """

    ids: list[int]
    finished: bool
    logp: float


def uniforms(seed: int, purpose: str, prompt_id: int, samples: int, steps: int) -> np.ndarray:
    """The uniform numbers of one prompt's completions, [samples, steps], float32 in [0, 1)."""
    return np.stack(
        [
            stream(seed, "sample", purpose, prompt_id, sample).random(steps, dtype=np.float32)
            for sample in range(samples)
        ]
    )


@torch.inference_mode()
def sample(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    draws: Sequence[np.ndarray],
    end_ids: Sequence[int],
    warp: LogitsProcessorList | None = None,
) -> list[list[Sampled]]:
    """Sample completions of a batch of prompts by inverting the cumulative distribution.

    Args:
        model: a causal LM, within `models.decoding`.
        prompts: token ids a prompt, of any lengths.
        draws: uniform numbers [samples, steps] a prompt, equal shapes; step t decides token t.
        end_ids: ids that end a completion.
        warp: processors of the logits (temperature, top-k, …); none is sampling from the policy.

    Returns the completions of each prompt in order. Temperature-1 samples without `warp` are
    unbiased draws from the policy; any other are not, and serve no estimate of KL or entropy.
    """
    samples, steps = draws[0].shape
    batch = _Batch(model, prompts, samples)
    numbers = torch.from_numpy(np.concatenate(draws)).to(model.device)
    ends = torch.tensor(list(end_ids), device=model.device)
    for step in range(steps):
        logits = batch.next_logits()
        warped = warp(batch.history(), logits.clone()) if warp else logits
        tokens = invert_cdf(warped, numbers[batch.alive, step])
        logps = logits.gather(1, tokens[:, None])[:, 0] - logits.logsumexp(dim=1)
        batch.append(tokens, logps, torch.isin(tokens, ends))
        if not len(batch.alive):
            break
    return batch.completions(samples)


def invert_cdf(logits: Tensor, numbers: Tensor) -> Tensor:
    """The token at which the cumulative softmax of a row first exceeds its number: [rows]."""
    cumulative = logits.softmax(dim=1).cumsum(dim=1)
    total = cumulative[:, -1]
    below = torch.nextafter(total, torch.zeros_like(total))  # rounding may not reach past the end
    target = torch.minimum(numbers * total, below)
    return torch.searchsorted(cumulative, target[:, None], right=True)[:, 0]


class _Batch:
    """Rows that are being decoded: prompt caches repeated a row a sample, finished rows dropped."""

    def __init__(self, model: PreTrainedModel, prompts: Sequence[Sequence[int]], samples: int):
        self.model = model
        longest = max(map(len, prompts))
        padded = [[0] * (longest - len(ids)) + list(ids) for ids in prompts]
        mask = [[0] * (longest - len(ids)) + [1] * len(ids) for ids in prompts]
        self.inputs = torch.tensor(padded, device=model.device)
        self.mask = torch.tensor(mask, device=model.device)
        self.samples = samples
        self.cache = None
        rows = len(prompts) * samples
        self.alive = torch.arange(rows, device=model.device)
        self.tokens: list[Tensor] = []  # a step: [rows], -1 where the row had ended
        self.logp = torch.zeros(rows, dtype=torch.float64, device=model.device)
        self.finished = torch.zeros(rows, dtype=torch.bool, device=model.device)
        self.prompt_inputs = self.inputs

    def next_logits(self) -> Tensor:
        """Logits of the next token of each row that goes on, float32 [alive, vocabulary]."""
        positions = (self.mask.cumsum(dim=1) - 1).clamp(min=0)[:, -self.inputs.shape[1] :]
        with autocast():
            output = self.model(
                input_ids=self.inputs,
                attention_mask=self.mask,
                position_ids=positions,
                past_key_values=self.cache,
                use_cache=True,
                logits_to_keep=1,
            )
        logits = output.logits[:, -1].float()
        if self.cache is None:  # the prompt ran once; its samples go on from copies
            output.past_key_values.batch_repeat_interleave(self.samples)
            logits = logits.repeat_interleave(self.samples, dim=0)
            self.mask = self.mask.repeat_interleave(self.samples, dim=0)
        self.cache = output.past_key_values
        return logits

    def history(self) -> Tensor:
        """Prompt and completion ids of each row that goes on, left-padded: [alive, length]."""
        prompts = self.prompt_inputs.repeat_interleave(self.samples, dim=0)[self.alive]
        return torch.cat([prompts, *(step[self.alive, None] for step in self.tokens)], dim=1)

    def append(self, tokens: Tensor, logps: Tensor, ended: Tensor) -> None:
        step = torch.full_like(self.finished, -1, dtype=torch.long)
        step[self.alive] = tokens
        self.tokens.append(step)
        self.logp[self.alive] += logps.double()
        self.finished[self.alive] = ended
        self.inputs = tokens[:, None]
        self.mask = torch.cat([self.mask, self.mask.new_ones(len(self.mask), 1)], dim=1)
        if ended.any():
            going = (~ended).nonzero()[:, 0]
            self.alive, self.inputs, self.mask = (
                self.alive[going],
                self.inputs[going],
                self.mask[going],
            )
            self.cache.batch_select_indices(going)

    def completions(self, samples: int) -> list[list[Sampled]]:
        ids = torch.stack(self.tokens, dim=1).tolist()
        flat = [
            Sampled([token for token in row if token >= 0], finished, logp)
            for row, finished, logp in zip(
                ids, self.finished.tolist(), self.logp.tolist(), strict=True
            )
        ]
        return [flat[start : start + samples] for start in range(0, len(flat), samples)]
