"""The decoding strategies that params.yaml names."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from transformers import (
    LogitsProcessor,
    LogitsProcessorList,
    NoRepeatNGramLogitsProcessor,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from fdpo.config.study import DiverseBeam, Heldout, Published, Sampling
from fdpo.core.randomness import RandomStreams
from fdpo.decoding import diverse_beams
from fdpo.decoding.sampling import Sampled, sample, uniforms
from fdpo.decoding.tempering import tempered_kl_and_entropy
from fdpo.models.causal_lm import end_of_text_ids


def decode_train(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompt_ids: Sequence[int],
    prompts: Sequence[Sequence[int]],
    settings: Sampling | DiverseBeam,
    streams: RandomStreams,
) -> list[list[Sampled]]:
    """The completions of a batch of training prompts, by the study's own strategy.

    Args:
        model: the reference, within `cached_attention`.
        tokenizer: the reference's; a search needs it for its words.
        prompt_ids: the prompts' numbers, which name their random streams.
        prompts: token ids of each prompt.
        settings: the study's section generate.train.
        streams: the run's random streams.
    """
    if isinstance(settings, DiverseBeam):
        return _search(model, tokenizer, prompts, settings)
    warp = LogitsProcessorList()
    if settings.temperature != 1:
        warp.append(TemperatureLogitsWarper(settings.temperature))
    if settings.top_k:
        warp.append(TopKLogitsWarper(settings.top_k))
    if settings.top_p < 1:
        warp.append(TopPLogitsWarper(settings.top_p))
    samples, steps = settings.completions, settings.max_new_tokens
    return _draw(model, prompt_ids, prompts, streams, "train", samples, steps, warp)


def _draw(
    model: PreTrainedModel,
    prompt_ids: Sequence[int],
    prompts: Sequence[Sequence[int]],
    streams: RandomStreams,
    purpose: str,
    samples: int,
    steps: int,
    warp: LogitsProcessor | LogitsProcessorList | None = None,
    **options: Any,
) -> list[list[Sampled]]:
    """`sample` with each prompt's own numbers for `purpose`, to the model's ends of text."""
    draws = [uniforms(streams, purpose, number, samples, steps) for number in prompt_ids]
    return sample(model, prompts, draws, end_of_text_ids(model), warp or None, **options)


def _search(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Sequence[int]],
    settings: DiverseBeam,
) -> list[list[Sampled]]:
    ends, search = end_of_text_ids(model), beam_settings(tokenizer, settings)
    rows = diverse_beams.diverse_beam_search(model, prompts, search, ends, pad_id=ends[0])
    return [[Sampled(ids, ids[-1] in ends, logp) for ids, logp in row] for row in rows]


def beam_settings(
    tokenizer: PreTrainedTokenizerBase, settings: DiverseBeam
) -> diverse_beams.BeamSettings:
    """The search with its words and markup as token ids.

    A word is biased, and a markup banned, as the sequence of its tokens. Words follow a space;
    markup is banned behind a space and without one.
    """

    def ids(text: str) -> tuple[int, ...]:
        return tuple(tokenizer(text, add_special_tokens=False).input_ids)

    spellings = [spelling for text in settings.banned for spelling in (text, f" {text}")]
    return diverse_beams.BeamSettings(
        groups=settings.groups,
        diversity_penalty=settings.diversity_penalty,
        no_repeat_ngram=settings.no_repeat_ngram,
        max_new_tokens=settings.max_new_tokens,
        bias={ids(f" {word}"): bias.weight for bias in settings.bias for word in bias.words},
        banned=list(dict.fromkeys(map(ids, spellings))),
    )


def decode_heldout(
    model: PreTrainedModel,
    prompt_ids: Sequence[int],
    prompts: Sequence[Sequence[int]],
    settings: Heldout,
    streams: RandomStreams,
    purpose: str,
    keep_hidden: bool = False,
) -> list[list[Sampled]]:
    """Plain temperature-1 samples of held-out prompts: unbiased draws from the model.

    `purpose` names the random stream; reference and policy draw independent numbers. `keep_hidden`
    is as for `sample`.
    """
    samples, steps = settings.samples, settings.max_new_tokens
    return _draw(
        model, prompt_ids, prompts, streams, purpose, samples, steps, keep_hidden=keep_hidden
    )


def decode_tempered(
    model: PreTrainedModel,
    prompt_ids: Sequence[int],
    prompts: Sequence[Sequence[int]],
    temperature: float,
    samples: int,
    max_new_tokens: int,
    streams: RandomStreams,
) -> list[list[Sampled]]:
    """Samples of held-out prompts from p_T = softmax(logits / T), with their KL and entropy.

    `measured` of each are KL(p_T‖p_1) and the entropy of p_T, summed over its tokens, in nats.
    """
    purpose, warp = f"temperature {temperature}", TemperatureLogitsWarper(temperature)
    measure = partial(tempered_kl_and_entropy, temperature=temperature)
    return _draw(
        model, prompt_ids, prompts, streams, purpose, samples, max_new_tokens, warp, measure=measure
    )


def decode_published(
    model: PreTrainedModel,
    prompt_ids: Sequence[int],
    prompts: Sequence[Sequence[int]],
    settings: Published,
    streams: RandomStreams,
    purpose: str,
) -> list[Sampled]:
    """One sample of each held-out prompt, decoded as the study's published figures were.

    Top-k is taken among the tokens that repeat no n-gram. `purpose` is as for `decode_heldout`.
    """
    warp = LogitsProcessorList()
    if settings.no_repeat_ngram:
        warp.append(NoRepeatNGramLogitsProcessor(settings.no_repeat_ngram))
    if settings.top_k:
        warp.append(TopKLogitsWarper(settings.top_k))
    purpose, steps = f"published {purpose}", settings.max_new_tokens
    rows = _draw(model, prompt_ids, prompts, streams, purpose, 1, steps, warp)
    return [completion for (completion,) in rows]
