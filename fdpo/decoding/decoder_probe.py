"""A loaded model against its own plain forward pass: does the cached decoder say the same?"""

from contextlib import nullcontext

import torch
from transformers import PreTrainedModel

from fdpo.decoding.cached_decoder import CachedDecoder, left_padded
from fdpo.models.causal_lm import cached_attention, full_precision
from fdpo.models.packing_probe import probe_packing, refusing, require_equal

STEPS = 3  # tokens decoded one by one, behind prompts of unequal length


def probe_model(model: PreTrainedModel, longest: int) -> None:
    """Check that packed rows and the cached decoder compute what the model's own forward pass does.

    `longest` is the most tokens of a sequence that will be run. Raises `UserError` where they do
    not, in one line that says by how much, or where the model has no such cache.
    """
    plain = probe_packing(model, longest)
    steps = min(STEPS, *map(len, plain.completions))
    texts = [[*plain.prompt, *completion] for completion in plain.completions]
    decoded = []
    with (
        torch.inference_mode(),
        refusing(model, "decode with a cache"),
        full_precision(model),
        cached_attention(model),
    ):
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
