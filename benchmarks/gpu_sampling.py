"""Plain sampling, ours or Transformers' `generate`, as one batch.

`python -m benchmarks.gpu_sampling ours|peer FOLDER PROMPTS SAMPLES TOKENS` prints a JSON object.
Both run FOLDER/model in `fdpo.core.device.autocast`, from the model's own distribution.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from benchmarks.clock import peak_gpu_mib, timing
from benchmarks.decoding_peer import make_prompts
from fdpo.core.device import autocast, device
from fdpo.core.randomness import streams_of
from fdpo.decoding.sampling import sample, uniforms
from fdpo.models.causal_lm import cached_attention, head_weight, load_causal_lm

Decode = Callable[[list[list[int]], int, int], int]


def ours(folder: Path) -> Decode:
    """Sample with this project's decoder; no token ends a completion."""
    model, streams = load_causal_lm(folder), streams_of(1)

    def decode(prompts: list[list[int]], samples: int, tokens: int) -> int:
        draws: list[np.ndarray] = [
            uniforms(streams, "benchmark", number, samples, tokens)
            for number in range(len(prompts))
        ]
        inside = [[token % len(head_weight(model)) for token in prompt] for prompt in prompts]
        with cached_attention(model):
            rows = sample(model, inside, draws, end_ids=[])
        return sum(len(sampled.ids) for row in rows for sampled in row)

    return decode


def peer(folder: Path) -> Decode:
    """Sample with Transformers' `generate`."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval().to(device())
    vocabulary = model.config.vocab_size

    def decode(prompts: list[list[int]], samples: int, tokens: int) -> int:
        longest = max(map(len, prompts))
        padded = [[0] * (longest - len(p)) + [t % vocabulary for t in p] for p in prompts]
        mask = [[0] * (longest - len(p)) + [1] * len(p) for p in prompts]
        with torch.inference_mode(), autocast():
            output = model.generate(
                torch.tensor(padded, device=device()),
                attention_mask=torch.tensor(mask, device=device()),
                do_sample=True,
                top_k=0,
                num_return_sequences=samples,
                min_new_tokens=tokens,
                max_new_tokens=tokens,
                pad_token_id=0,
            )
        return output[:, longest:].numel()

    return decode


def main() -> None:
    side, folder, *sizes = sys.argv[1:]
    prompts, samples, tokens = map(int, sizes)
    decode = {"ours": ours, "peer": peer}[side](Path(folder) / "model")
    texts = make_prompts(prompts)
    decode(texts[:1], 1, 2)  # the first call sets up libraries
    with timing() as spent:
        made = decode(texts, samples, tokens)
    print(json.dumps({"rate": made / spent()["wall"], "gpu_mib": peak_gpu_mib()}))


if __name__ == "__main__":
    main()
