"""Prompts to records with the reference's completions: decoded, or given by somebody else."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from fdpo.config.study import Generate
from fdpo.core.randomness import RandomStreams
from fdpo.core.records import (
    BaselineSamples,
    Completion,
    Generation,
    TemperedCompletion,
    TemperedSamples,
)
from fdpo.decoding.engine_mismatch import distances
from fdpo.decoding.sampling import Sampled
from fdpo.decoding.strategies import decode_heldout, decode_published, decode_train
from fdpo.decoding.tokenized_prompts import TokenizedPrompt
from fdpo.models.causal_lm import cached_attention, end_of_text_ids
from fdpo.models.logprobs import forward_logps, forward_token_logps
from fdpo.models.text_tokens import completion_text


def batches_by_length(prompts: Sequence[TokenizedPrompt], size: int) -> list[list[TokenizedPrompt]]:
    """Batches of at most `size` prompts of one role and of like lengths, so little is padded."""
    batches = []
    for role in ("train", "test", "heldout"):
        of_role = [item for item in prompts if item.prompt.role == role]
        of_role.sort(key=lambda item: (len(item.ids), item.prompt.id))
        batches += [of_role[start : start + size] for start in range(0, len(of_role), size)]
    return batches


def count(batch: Sequence[TokenizedPrompt], generate: Generate) -> int:
    """How many completions `complete` gives for the batch, those for baselines included."""
    if batch[0].prompt.role == "heldout":
        samples = generate.plain_samples + (generate.heldout.published is not None)
        if baselines := generate.baselines:
            samples += len(baselines.temperatures) * baselines.samples_per_temperature
        return len(batch) * samples
    if generate.train.strategy == "given":
        return sum(len(item.completions) for item in batch)
    return len(batch) * generate.train.completions


def complete(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    batch: Sequence[TokenizedPrompt],
    generate: Generate,
    streams: RandomStreams,
) -> list[Generation]:
    """The reference's completions of a batch of prompts of one role: a record each, in order.

    Training completions, decoded or given, are cut to `generate.max_length` tokens of prompt and
    completion. The model is as `load_causal_lm` gives it, and the prompts leave room for one token.
    """
    reference = _Reference(model, tokenizer)
    if batch[0].prompt.role == "heldout":
        return reference.sample_heldout(batch, generate, streams)
    if generate.train.strategy == "given":
        return [reference.take_given(item) for item in batch]
    with cached_attention(model):
        rows = decode_train(model, tokenizer, *_prompts(batch), generate.train, streams)
    return [
        reference.record(item, cut(model, item.ids, row, generate.max_length))
        for item, row in zip(batch, rows, strict=True)
    ]


def cut(
    model: PreTrainedModel, prompt: Sequence[int], completions: Sequence[Sampled], max_length: int
) -> list[Sampled]:
    """Completions whose tokens, with the prompt's, are at most `max_length`; longer ones are cut.

    A cut completion is not finished, and its log-probability is that of the ids that are left, from
    a forward pass of `model`, which must not be within `cached_attention`.
    """
    room = max_length - len(prompt)
    kept = [sampled.ids[:room] for sampled in completions if len(sampled.ids) > room]
    logps = iter(forward_logps(model, prompt, kept))
    return [
        Sampled(sampled.ids[:room], False, next(logps)) if len(sampled.ids) > room else sampled
        for sampled in completions
    ]


def _prompts(batch: Sequence[TokenizedPrompt]) -> tuple[list[int], list[list[int]]]:
    return [item.prompt.id for item in batch], [item.ids for item in batch]


@dataclass(frozen=True)
class _Reference:
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase

    def sample_heldout(
        self, batch: Sequence[TokenizedPrompt], generate: Generate, streams: RandomStreams
    ) -> list[Generation]:
        """Plain samples and, where the study asks for them, one as published, and baselines'."""
        model, prompts, settings = self.model, _prompts(batch), generate.heldout
        more: list[dict[str, Any]] = [{} for _ in batch]
        with cached_attention(model):
            rows = decode_heldout(model, *prompts, settings, streams, "reference")
            if settings.published:
                one = decode_published(model, *prompts, settings.published, streams, "reference")
                for fields, item, sampled in zip(more, batch, one, strict=True):
                    fields["published"] = self.completion(item, sampled)
            if asked := generate.baselines:
                plain: list[list[Sampled]] = [[] for _ in batch]
                if missing := asked.plain_samples - settings.samples:
                    further = settings.model_copy(update={"samples": missing})
                    plain = decode_heldout(model, *prompts, further, streams, "best of n")
                few = settings.model_copy(update={"samples": asked.samples_per_temperature})
                tempered = {
                    t: decode_heldout(
                        model, *prompts, few, streams, f"temperature {t}", temperature=t
                    )
                    for t in asked.temperatures
                }
                for place, (fields, item) in enumerate(zip(more, batch, strict=True)):
                    fields["baselines"] = BaselineSamples(
                        plain=[self.completion(item, sampled) for sampled in plain[place]],
                        tempered=[
                            TemperedSamples(
                                temperature=t,
                                completions=[self.tempered(item, one) for one in of_batch[place]],
                            )
                            for t, of_batch in tempered.items()
                        ],
                    )
        return [
            self.record(item, row, **fields)
            for item, row, fields in zip(batch, rows, more, strict=True)
        ]

    def take_given(self, item: TokenizedPrompt) -> Generation:
        """The completions given for a prompt, with the log-probabilities of the model."""
        ends = end_of_text_ids(self.model)
        scores = [found.score for found in item.sampled if found.score is not None]
        mismatch: list[float] = []
        if any(found.logps or found.logp is not None for found in item.sampled):
            by_token = forward_token_logps(self.model, item.ids, item.completions)
            logps = [math.fsum(values) for values in by_token]
            mismatch = distances(item.sampled, by_token)
        else:
            logps = forward_logps(self.model, item.ids, item.completions)
        given = zip(item.completions, logps, strict=True)
        completions = [Sampled(ids, ids[-1] in ends, logp) for ids, logp in given]
        fields = {"given": item.given, "scores": scores, "mismatch": mismatch}
        return self.record(item, completions, **{key: fields[key] or None for key in fields})

    def record(
        self, item: TokenizedPrompt, completions: Sequence[Sampled], **fields: Any
    ) -> Generation:
        """A prompt's record with its completions."""
        prompt = item.prompt.model_dump(include={"id", "prompt", "role", "messages"})
        made = [self.completion(item, sampled) for sampled in completions]
        return Generation(**prompt, prompt_ids=item.ids, completions=made, **fields)

    def completion(self, item: TokenizedPrompt, sampled: Sampled) -> Completion:
        """A completion's record."""
        return Completion(
            text=completion_text(self.tokenizer, item.ids, sampled.ids),
            ids=sampled.ids,
            finished=sampled.finished,
            ref_logp=sampled.logp,
        )

    def tempered(self, item: TokenizedPrompt, sampled: Sampled) -> TemperedCompletion:
        """The record of a completion at a temperature."""
        kl, entropy = sampled.measured
        plain = self.completion(item, sampled).model_dump()
        return TemperedCompletion(**plain, kl=kl, entropy=entropy)
