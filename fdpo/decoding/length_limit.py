"""The one length limit: completions cut to it, with the log-probabilities of what is left."""

from collections.abc import Sequence

from transformers import PreTrainedModel

from fdpo.decoding.sampling import Sampled
from fdpo.models.logprobs import forward_logps


def cut(
    model: PreTrainedModel, prompt: Sequence[int], completions: Sequence[Sampled], max_length: int
) -> list[Sampled]:
    """Completions whose tokens, with the prompt's, are at most `max_length`; longer ones are cut.

    A cut completion is not finished, and its log-probability is that of the ids that are left, from
    a forward pass of `model`, which must not be within `cached_attention`.
    """
    room = max_length - len(prompt)
    kept = [completion.ids[:room] for completion in completions]
    too_long = [index for index, sampled in enumerate(completions) if len(sampled.ids) > room]
    logps = forward_logps(model, prompt, [kept[index] for index in too_long])
    shortened = {
        index: Sampled(kept[index], False, logp)
        for index, logp in zip(too_long, logps, strict=True)
    }
    return [shortened.get(index, sampled) for index, sampled in enumerate(completions)]
