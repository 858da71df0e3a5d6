"""Prompts to records with the reference's completions: decoded, or given by somebody else."""

import math
from collections.abc import Sequence

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from fdpo.config.study import Generate, Heldout, ReferenceBaselines
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
from fdpo.decoding.strategies import (
    decode_heldout,
    decode_published,
    decode_tempered,
    decode_train,
)
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
        if generate.baselines:
            tempered = len(generate.baselines.temperatures)
            samples += tempered * generate.baselines.samples_per_temperature
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
    """The reference's completions of a batch of prompts of one role.

    Args:
        model: the reference, as `load_causal_lm` gives it.
        tokenizer: the reference's.
        batch: prompts that leave room for a completion.
        generate: the study's section of that name; it says how training prompts get theirs.
        streams: the run's random streams.

    Returns: a record for each prompt, in order. Training completions, decoded or given, are cut to
    `generate.max_length` tokens of prompt and completion.
    """
    if batch[0].prompt.role == "heldout":
        return _sample_heldout(model, tokenizer, batch, generate, streams)
    if generate.train.strategy == "given":
        return [_take_given(model, tokenizer, item) for item in batch]
    with cached_attention(model):
        rows = decode_train(model, tokenizer, *_prompts(batch), generate.train, streams)
    return [
        _generation(tokenizer, item, cut(model, item.ids, row, generate.max_length))
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
    """The prompts' numbers and their token ids."""
    return [item.prompt.id for item in batch], [item.ids for item in batch]


def _sample_heldout(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    batch: Sequence[TokenizedPrompt],
    generate: Generate,
    streams: RandomStreams,
) -> list[Generation]:
    """Plain samples and, where the study asks for them, one as published, and the baselines'."""
    prompts, settings = _prompts(batch), generate.heldout
    published: Sequence[Sampled | None] = [None] * len(batch)
    baselines: Sequence[BaselineSamples | None] = [None] * len(batch)
    with cached_attention(model):
        rows = decode_heldout(model, *prompts, settings, streams, "reference")
        if settings.published:
            published = decode_published(model, *prompts, settings.published, streams, "reference")
        if generate.baselines:
            baselines = _sample_baselines(
                model, tokenizer, batch, generate.baselines, settings, streams
            )
    return [
        _generation(tokenizer, item, row, published=extra, baselines=more)
        for item, row, extra, more in zip(batch, rows, published, baselines, strict=True)
    ]


def _sample_baselines(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    batch: Sequence[TokenizedPrompt],
    settings: ReferenceBaselines,
    heldout: Heldout,
    streams: RandomStreams,
) -> list[BaselineSamples]:
    """The samples of each prompt that only baselines need."""
    prompts = _prompts(batch)
    plain: list[list[Sampled]] = [[] for _ in batch]
    if missing := settings.plain_samples - heldout.samples:
        further = heldout.model_copy(update={"samples": missing})
        plain = decode_heldout(model, *prompts, further, streams, "best of n")
    samples, steps = settings.samples_per_temperature, heldout.max_new_tokens
    tempered = {
        temperature: decode_tempered(model, *prompts, temperature, samples, steps, streams)
        for temperature in settings.temperatures
    }
    return [
        BaselineSamples(
            plain=[_completion(tokenizer, item.ids, sampled) for sampled in plain[place]],
            tempered=[
                TemperedSamples(
                    temperature=temperature,
                    completions=[_tempered(tokenizer, item.ids, one) for one in rows[place]],
                )
                for temperature, rows in tempered.items()
            ],
        )
        for place, item in enumerate(batch)
    ]


def _tempered(
    tokenizer: PreTrainedTokenizerBase, prompt_ids: Sequence[int], sampled: Sampled
) -> TemperedCompletion:
    kl, entropy = sampled.measured
    plain = _completion(tokenizer, prompt_ids, sampled)
    return TemperedCompletion(**plain.model_dump(), kl=kl, entropy=entropy)


def _take_given(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, item: TokenizedPrompt
) -> Generation:
    """The completions given for a prompt, of pairs each once, with what the model says of them."""
    ends = end_of_text_ids(model)
    scores = [found.score for found in item.sampled if found.score is not None]
    mismatch: list[float] = []
    if any(found.logps or found.logp is not None for found in item.sampled):
        by_token = forward_token_logps(model, item.ids, item.completions)
        logps = [math.fsum(values) for values in by_token]
        mismatch = distances(item.sampled, by_token)
    else:
        logps = forward_logps(model, item.ids, item.completions)
    completions = [
        Sampled(ids, ids[-1] in ends, logp)
        for ids, logp in zip(item.completions, logps, strict=True)
    ]
    record = _generation(tokenizer, item, completions, given=item.given or None)
    return record.model_copy(update={"scores": scores or None, "mismatch": mismatch or None})


def _generation(
    tokenizer: PreTrainedTokenizerBase,
    item: TokenizedPrompt,
    completions: Sequence[Sampled],
    given: list[list[int]] | None = None,
    published: Sampled | None = None,
    baselines: BaselineSamples | None = None,
) -> Generation:
    return Generation(
        id=item.prompt.id,
        prompt=item.prompt.prompt,
        role=item.prompt.role,
        prompt_ids=item.ids,
        completions=[_completion(tokenizer, item.ids, sampled) for sampled in completions],
        given=given,
        published=_completion(tokenizer, item.ids, published) if published else None,
        baselines=baselines,
        messages=item.prompt.messages,
    )


def _completion(
    tokenizer: PreTrainedTokenizerBase, prompt_ids: Sequence[int], sampled: Sampled
) -> Completion:
    return Completion(
        text=completion_text(tokenizer, prompt_ids, sampled.ids),
        ids=sampled.ids,
        finished=sampled.finished,
        ref_logp=sampled.logp,
    )
