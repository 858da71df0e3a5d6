"""One side of benchmarks/decoding.py: `python -m benchmarks.decoding_sides SIDE SIZES …`."""

import json
import sys

import numpy as np
import torch
from transformers import ContinuousBatchingConfig, GPT2Config, GPT2LMHeadModel

from benchmarks.clock import peak_gpu_mib, timing
from benchmarks.workload import build
from fdpo.core.device import autocast, device
from fdpo.core.randomness import streams_of
from fdpo.decoding.sampling import sample, uniforms
from fdpo.models.causal_lm import cached_attention, use_branch_attention

SAMPLES = 6  # of each prompt
PAGE = 32  # tokens of a block of generate_batch's cache

Prompts = list[list[int]]


def make_prompts(count: int, vocabulary: int) -> Prompts:
    """Prompts of 8 to 32 tokens, about as long as the first sentence of a film review."""
    draws = np.random.Generator(np.random.Philox(0))
    return [draws.integers(0, vocabulary - 1, draws.integers(8, 33)).tolist() for _ in range(count)]


def fdpo(model: GPT2LMHeadModel, prompts: Prompts, new_tokens: int) -> int:
    streams = streams_of(1)
    draws = [
        uniforms(streams, "benchmark", number, SAMPLES, new_tokens)
        for number in range(len(prompts))
    ]
    use_branch_attention(model)
    with cached_attention(model), autocast():
        rows = sample(model, prompts, draws, end_ids=[])
    return sum(len(sampled.ids) for row in rows for sampled in row)


def generate(model: GPT2LMHeadModel, prompts: Prompts, new_tokens: int) -> int:
    longest = max(map(len, prompts))
    padded = [[0] * (longest - len(prompt)) + prompt for prompt in prompts]
    mask = [[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts]
    with autocast():
        output = model.generate(
            torch.tensor(padded, device=device()),
            attention_mask=torch.tensor(mask, device=device()),
            do_sample=True,
            top_k=0,
            num_return_sequences=SAMPLES,
            min_new_tokens=new_tokens,
            max_new_tokens=new_tokens,
            pad_token_id=0,
        )
    return output[:, longest:].numel()


def generate_batch(model: GPT2LMHeadModel, prompts: Prompts, new_tokens: int) -> int:
    """With a cache as large as all completions need; by default it fills the free memory."""
    config = model.generation_config
    config.do_sample, config.top_k, config.eos_token_id = True, 0, -1
    requests = [prompt for prompt in prompts for _ in range(SAMPLES)]
    pages = -(-(max(map(len, prompts)) + new_tokens) // PAGE)
    cache = ContinuousBatchingConfig(page_size=PAGE, num_blocks=pages * len(requests))
    with autocast():
        found = model.generate_batch(requests, config, cache, max_new_tokens=new_tokens)
    return sum(len(output.generated_tokens) for output in found.values())


SIDES = {side.__name__: side for side in (fdpo, generate, generate_batch)}


def main() -> None:
    side = SIDES[sys.argv[1]]
    count, new_tokens, layers = map(int, sys.argv[2:])
    model = build(GPT2Config(n_layer=layers)).to(device())
    prompts = make_prompts(count, model.config.vocab_size)
    side(model, prompts[:1], 2)  # the first call sets up libraries
    with timing() as spent:
        tokens = side(model, prompts, new_tokens)
    if tokens != count * SAMPLES * new_tokens:
        sys.exit(f"{sys.argv[1]}: {tokens} tokens, not {count * SAMPLES * new_tokens}")
    print(json.dumps({**spent(), "tokens": tokens, "gpu_mib": peak_gpu_mib()}))


if __name__ == "__main__":
    main()
