"""Prompts to records with the reference's completions: decoded, or given by somebody else."""

from collections.abc import Sequence
from typing import NamedTuple

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from fdpo.config.study import Generate
from fdpo.core.errors import UserError
from fdpo.core.randomness import RandomStreams
from fdpo.core.records import Completion, Generation, Prompt
from fdpo.decoding import length_limit
from fdpo.decoding.sampling import Sampled
from fdpo.decoding.strategies import decode_heldout, decode_published, decode_train
from fdpo.models.causal_lm import cached_attention, end_of_text_ids, position_limit
from fdpo.models.logprobs import forward_logps


class TokenizedPrompt(NamedTuple):
    """A prompt and its token ids."""

    prompt: Prompt
    ids: list[int]


def check_roles(prompts: Sequence[TokenizedPrompt], max_length: int) -> None:
    """Raise `UserError` where length has left out all prompts of training or evaluation."""
    for role in ("train", "heldout"):
        if not any(prompt.role == role for prompt, _ in prompts):
            raise UserError(
                f"generate.max_length = {max_length}: every {role} prompt has as many tokens or"
                " more, so none has room for a completion; raise it"
            )


def check_positions(
    prompts: Sequence[TokenizedPrompt], generate: Generate, model: PreTrainedModel
) -> None:
    """Raise `UserError` where a completion could outgrow what the model was made for."""
    longest, new = _longest_prompt_and_completion(prompts, generate)
    positions = position_limit(model)
    if positions and longest + new > positions:
        raise UserError(
            f"generate: a prompt of {longest} tokens and max_new_tokens = {new} exceed the"
            f" {positions} positions of {model.name_or_path}; lower max_new_tokens or max_length"
        )


def longest_sequence(prompts: Sequence[TokenizedPrompt], generate: Generate) -> int:
    """The most tokens of prompt and completion that the model will run at a time."""
    return sum(_longest_prompt_and_completion(prompts, generate))


def _longest_prompt_and_completion(
    prompts: Sequence[TokenizedPrompt], generate: Generate
) -> tuple[int, int]:
    longest = max(len(item.ids) for item in prompts)
    strategies = (generate.train, generate.heldout, generate.heldout.published)
    return longest, max(getattr(settings, "max_new_tokens", 0) for settings in strategies)


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
        return [_take_given(model, tokenizer, item, generate.max_length) for item in batch]
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
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    item: TokenizedPrompt,
    max_length: int,
) -> Generation:
    """The completions of a prompt's given pairs, each once.

    Prompt and completion are tokenised apart, so no token reaches across the boundary, and nothing
    is added: end-of-text ends a completion only where its text says so.
    """
    given = item.prompt.given or []
    texts = [text for pair in given for text in (pair.chosen, pair.rejected)]
    index_of = {text: index for index, text in enumerate(dict.fromkeys(texts))}
    room = max_length - len(item.ids)
    rows = [tokenizer(text, add_special_tokens=False).input_ids[:room] for text in index_of]
    ends = end_of_text_ids(model)
    logps = forward_logps(model, item.ids, rows)
    completions = [
        Sampled(ids, ids[-1] in ends, logp) for ids, logp in zip(rows, logps, strict=True)
    ]
    pairs = [[index_of[pair.chosen], index_of[pair.rejected]] for pair in given]
    return _generation(tokenizer, item, completions, given=pairs)


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
        completions=[_completion(tokenizer, sampled) for sampled in completions],
        given=given,
        published=_completion(tokenizer, published) if published else None,
    )


def _completion(tokenizer: PreTrainedTokenizerBase, sampled: Sampled) -> Completion:
    return Completion(
        text=decode_text(tokenizer, sampled.ids),
        ids=sampled.ids,
        finished=sampled.finished,
        ref_logp=sampled.logp,
    )


def decode_text(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> str:
    """The text of token ids, without special tokens."""
    return str(tokenizer.decode(list(ids), skip_special_tokens=True))
