"""Prompts to records with the reference's completions: decoded, or given by somebody else."""

from collections.abc import Sequence

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from fdpo.config.study import Generate
from fdpo.core.randomness import RandomStreams
from fdpo.core.records import Completion, Generation
from fdpo.decoding import length_limit
from fdpo.decoding.sampling import Sampled
from fdpo.decoding.strategies import decode_heldout, decode_published, decode_train
from fdpo.decoding.tokenized_prompts import TokenizedPrompt
from fdpo.models.causal_lm import cached_attention, end_of_text_ids
from fdpo.models.logprobs import forward_logps
from fdpo.models.text_tokens import completion_text


def batches_by_length(prompts: Sequence[TokenizedPrompt], size: int) -> list[list[TokenizedPrompt]]:
    """Batches of at most `size` prompts of one role and of like lengths, so little is padded."""
    batches = []
    for role in ("train", "test", "heldout"):
        of_role = [item for item in prompts if item.prompt.role == role]
        of_role.sort(key=lambda item: (len(item.ids), item.prompt.id))
        batches += [of_role[start : start + size] for start in range(0, len(of_role), size)]
    return batches


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
    numbers = [item.prompt.id for item in batch]
    prompt_ids = [item.ids for item in batch]
    with cached_attention(model):
        rows = decode_train(model, tokenizer, numbers, prompt_ids, generate.train, streams)
    return [
        _generation(tokenizer, item, length_limit.cut(model, item.ids, row, generate.max_length))
        for item, row in zip(batch, rows, strict=True)
    ]


def _sample_heldout(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    batch: Sequence[TokenizedPrompt],
    generate: Generate,
    streams: RandomStreams,
) -> list[Generation]:
    """Plain samples and, where the study has published figures, one as they were made."""
    numbers = [item.prompt.id for item in batch]
    prompt_ids = [item.ids for item in batch]
    settings = generate.heldout
    published: Sequence[Sampled | None] = [None] * len(batch)
    with cached_attention(model):
        rows = decode_heldout(model, numbers, prompt_ids, settings, streams, purpose="reference")
        if settings.published:
            published = decode_published(
                model, numbers, prompt_ids, settings.published, streams, purpose="reference"
            )
    return [
        _generation(tokenizer, item, row, published=extra)
        for item, row, extra in zip(batch, rows, published, strict=True)
    ]


def _take_given(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, item: TokenizedPrompt
) -> Generation:
    """The completions of a prompt's given pairs, each once, with what the model says of them."""
    ends = end_of_text_ids(model)
    logps = forward_logps(model, item.ids, item.completions)
    completions = [
        Sampled(ids, ids[-1] in ends, logp)
        for ids, logp in zip(item.completions, logps, strict=True)
    ]
    return _generation(tokenizer, item, completions, given=item.given)


def _generation(
    tokenizer: PreTrainedTokenizerBase,
    item: TokenizedPrompt,
    completions: Sequence[Sampled],
    given: list[list[int]] | None = None,
    published: Sampled | None = None,
) -> Generation:
    return Generation(
        id=item.prompt.id,
        prompt=item.prompt.prompt,
        role=item.prompt.role,
        prompt_ids=item.ids,
        completions=[_completion(tokenizer, item.ids, sampled) for sampled in completions],
        given=given,
        published=_completion(tokenizer, item.ids, published) if published else None,
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
