"""Group beams of Transformers 4.49 for benchmarks/decoding.py, one prompt at a time.

Run by the Python of an environment with transformers==4.49.0; it imports nothing of this project.
"""

import argparse
import json
import resource
import time
from collections.abc import Callable

import numpy as np
import torch
from transformers import GPT2Config, GPT2LMHeadModel

GROUPS = 6
PENALTY = 50.0
NGRAM = 2
SIZES = ("prompts", "new_tokens", "layers")

Prompts = list[list[int]]


def build_model(layers: int) -> GPT2LMHeadModel:
    """GPT-2 of 124 million random weights with 12 layers: the cost is that of the trained one."""
    torch.manual_seed(0)
    return GPT2LMHeadModel(GPT2Config(n_layer=layers)).eval()


def make_prompts(count: int, vocabulary: int) -> Prompts:
    """Prompts of 8 to 32 tokens, about as long as the first sentence of a film review."""
    draws = np.random.Generator(np.random.Philox(0))
    return [draws.integers(0, vocabulary - 1, draws.integers(8, 33)).tolist() for _ in range(count)]


def measure(decode: Callable[[Prompts, int], int], prompts: Prompts, new_tokens: int) -> None:
    """Time `decode`, which returns how many tokens it made; print the result as JSON."""
    decode(prompts[:1], 2)  # the first call sets up libraries
    cpu, wall = time.process_time(), time.perf_counter()
    made = decode(prompts, new_tokens)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # Linux counts KiB
    print(json.dumps({"rate": made / cpu, "wall_rate": made / wall, "peak_mib": peak}))


def main() -> None:
    parser = argparse.ArgumentParser()
    for size in SIZES:
        parser.add_argument(size, type=int)
    options = parser.parse_args()
    model = build_model(options.layers)
    end = model.config.eos_token_id

    def decode(prompts: Prompts, new_tokens: int) -> int:
        made = 0
        for prompt in prompts:
            ids = torch.tensor([prompt])
            output = model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                num_beams=GROUPS,
                num_beam_groups=GROUPS,
                num_return_sequences=GROUPS,
                diversity_penalty=PENALTY,
                no_repeat_ngram_size=NGRAM,
                max_new_tokens=new_tokens,
                do_sample=False,
                pad_token_id=end,
            )
            for row in output[:, len(prompt) :].tolist():
                made += row.index(end) + 1 if end in row else len(row)
        return made

    prompts = make_prompts(options.prompts, model.config.vocab_size)
    measure(decode, prompts, options.new_tokens)


if __name__ == "__main__":
    main()
