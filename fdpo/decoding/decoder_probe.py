"""A loaded model against its own plain forward pass: does the cached decoder say the same?"""

from contextlib import nullcontext

import torch
from transformers import PreTrainedModel

from fdpo.decoding.cached_decoder import CachedDecoder, left_padded
from fdpo.models.causal_lm import cached_attention, full_precision
from fdpo.models.packing_probe import PlainForward, probe_packing, refusing, require_equal

STEPS = 3  # tokens decoded one by one, behind prompts of unequal length


def probe_model(model: PreTrainedModel, longest: int) -> None:
    """Check that packed rows and the cached decoder compute what the model's own forward pass does.

    Args:
        model: as `load_causal_lm` gives it.
        longest: tokens of the longest sequence that will be run.

    Raises:
        UserError: they do not; one line that says by how much.
    """
    probe_decoder(model, probe_packing(model, longest))


@torch.inference_mode()
def probe_decoder(model: PreTrainedModel, plain: PlainForward) -> None:
    """Decode the last tokens of both sequences of `plain`, which are of unequal length.

    Raises:
        UserError: their log-probabilities are not those of `plain`, or the model has no such cache.
    """
    steps = min(STEPS, *map(len, plain.completions))
    texts = [[*plain.prompt, *completion] for completion in plain.completions]
    decoded = []
    with refusing(model, "decode with a cache"), full_precision(model), cached_attention(model):
        history = left_padded([text[:-steps] for text in texts], model.device)
        decoder = CachedDecoder(model, history, copies=1, precision=nullcontext)
        for step in range(-steps, 0):
            tokens = torch.tensor([[text[step]] for text in texts], device=model.device)
            logits = decoder.next_logits().float()
            decoded.append(logits.log_softmax(dim=1).gather(1, tokens)[:, 0])
            history = torch.cat([history, tokens], dim=1)
            if step < -1:
                decoder.advance(history)
    expected = torch.stack([logps[-steps:] for logps in plain.logps], dim=1)
    require_equal(model, "when decoded with a cache", torch.stack(decoded), expected)
