"""The decoding strategies that params.yaml names."""

from collections.abc import Sequence

from transformers import (
    LogitsProcessorList,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from fdpo.models import end_of_text_ids
from fdpo.params import Heldout, Sampling
from fdpo.sampling import Sampled, sample, uniforms


def decode_train(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompt_ids: Sequence[int],
    prompts: Sequence[Sequence[int]],
    settings: Sampling,
    seed: int,
) -> list[list[Sampled]]:
    """The completions of a batch of training prompts, by the study's own strategy."""
    draws = [
        uniforms(seed, "train", number, settings.completions, settings.max_new_tokens)
        for number in prompt_ids
    ]
    return sample(model, prompts, draws, end_of_text_ids(model), _warp(settings))


def _warp(settings: Sampling) -> LogitsProcessorList | None:
    warp = LogitsProcessorList()
    if settings.temperature != 1:
        warp.append(TemperatureLogitsWarper(settings.temperature))
    if settings.top_k:
        warp.append(TopKLogitsWarper(settings.top_k))
    if settings.top_p < 1:
        warp.append(TopPLogitsWarper(settings.top_p))
    return warp or None


def decode_heldout(
    model: PreTrainedModel,
    prompt_ids: Sequence[int],
    prompts: Sequence[Sequence[int]],
    settings: Heldout,
    seed: int,
    purpose: str,
) -> list[list[Sampled]]:
    """Plain temperature-1 samples of held-out prompts: unbiased draws from the model.

    `purpose` names the random stream; reference and policy draw independent numbers.
    """
    draws = [
        uniforms(seed, purpose, number, settings.samples, settings.max_new_tokens)
        for number in prompt_ids
    ]
    return sample(model, prompts, draws, end_of_text_ids(model))
