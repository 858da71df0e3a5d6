"""The decoding strategies that params.yaml names."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from transformers import (
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
from fdpo.decoding.diverse_beams import BeamSettings, diverse_beam_search
from fdpo.decoding.sampling import Sampled, sample, uniforms
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
        ends = end_of_text_ids(model)
        return diverse_beam_search(
            model, prompts, beam_settings(tokenizer, settings), ends, pad_id=ends[0]
        )
    warps: list[Any] = []
    if settings.temperature != 1:
        warps.append(TemperatureLogitsWarper(settings.temperature))
    if settings.top_k:
        warps.append(TopKLogitsWarper(settings.top_k))
    if settings.top_p < 1:
        warps.append(TopPLogitsWarper(settings.top_p))
    samples, steps = settings.completions, settings.max_new_tokens
    return _draw(model, prompt_ids, prompts, streams, "train", samples, steps, warps)


def _draw(
    model: PreTrainedModel,
    prompt_ids: Sequence[int],
    prompts: Sequence[Sequence[int]],
    streams: RandomStreams,
    purpose: str,
    samples: int,
    steps: int,
    warps: list,
    **options: Any,
) -> list[list[Sampled]]:
    """`sample` with each prompt's own numbers for `purpose`, to the model's ends of text."""
    draws = [uniforms(streams, purpose, number, samples, steps) for number in prompt_ids]
    warp = LogitsProcessorList(warps) if warps else None
    return sample(model, prompts, draws, end_of_text_ids(model), warp, **options)


def beam_settings(tokenizer: PreTrainedTokenizerBase, settings: DiverseBeam) -> BeamSettings:
    """The search with its words and markup as token ids.

    A word is biased, and a markup banned, as the sequence of its tokens. Words follow a space;
    markup is banned behind a space and without one.
    """

    def ids(text: str) -> tuple[int, ...]:
        return tuple(tokenizer(text, add_special_tokens=False).input_ids)

    spellings = [spelling for text in settings.banned for spelling in (text, f" {text}")]
    return BeamSettings(
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
    temperature: float = 1,
) -> list[list[Sampled]]:
    """Samples of held-out prompts: at temperature 1 unbiased draws from the model.

    `purpose` names the random stream; reference and policy draw independent numbers. `keep_hidden`
    is as for `sample`. At another temperature T, `measured` of each are KL(p_T‖p_1) and the entropy
    of p_T = softmax(logits / T), summed over its tokens, in nats.
    """
    samples, steps = settings.samples, settings.max_new_tokens
    options: dict[str, Any] = {"warps": [], "keep_hidden": keep_hidden}
    if temperature != 1:
        options["warps"] = [TemperatureLogitsWarper(temperature)]
        options["measure"] = partial(tempered_kl_and_entropy, temperature=temperature)
    return _draw(model, prompt_ids, prompts, streams, purpose, samples, steps, **options)


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
    warps: list[Any] = []
    if settings.no_repeat_ngram:
        warps.append(NoRepeatNGramLogitsProcessor(settings.no_repeat_ngram))
    if settings.top_k:
        warps.append(TopKLogitsWarper(settings.top_k))
    purpose, steps = f"published {purpose}", settings.max_new_tokens
    rows = _draw(model, prompt_ids, prompts, streams, purpose, 1, steps, warps)
    return [completion for (completion,) in rows]


def tempered_kl_and_entropy(logits: Tensor, temperature: float) -> Tensor:
    """KL(p_T‖p_1) and the entropy of p_T = softmax(logits / T), in nats: [rows, 2] float64.

    Summed over a completion's tokens, the first is an unbiased estimate of the sequence-level KL of
    sampling at T to sampling at 1 (arXiv 2504.10637), as evaluation gives it of a policy.

    Args:
        logits: [rows, vocabulary] float32, left as they are.
        temperature: T > 0.
    """
    # With s = logits - max and e = E_{p_T}[s]: log p_T = s/T - log Z_T and log p_1 = s - log Z_1.
    shifted = logits - logits.amax(dim=1, keepdim=True)
    log_z = shifted.exp().sum(dim=1).double().log()
    weights = (shifted / temperature).exp_()
    normaliser = weights.sum(dim=1).double()
    mean = torch.linalg.vecdot(weights, shifted.nan_to_num_(neginf=0)).double() / normaliser
    kl = (1 / temperature - 1) * mean - normaliser.log() + log_z
    entropy = normaliser.log() - mean / temperature
    return torch.stack([kl, entropy], dim=1).clamp_min_(0)  # rounding passes 0 by about 1e-7
