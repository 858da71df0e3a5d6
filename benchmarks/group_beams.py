"""The peer of benchmarks/decoding.py, and the workload of both.

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
EOS = 50256  # GPT-2's end-of-text, which is also its padding


def build_model() -> GPT2LMHeadModel:
    """GPT-2 of 124 million parameters, randomly initialised: the cost is that of the real one."""
    torch.manual_seed(0)
    return GPT2LMHeadModel(GPT2Config()).eval()


def make_prompts(count: int) -> list[list[int]]:
    """Prompts of 8 to 32 tokens, about as long as the first sentence of a film review."""
    draws = np.random.Generator(np.random.Philox(0))
    return [draws.integers(0, EOS, draws.integers(8, 33)).tolist() for _ in range(count)]


def measure(decode: Callable[[list[list[int]], int], list[list[int]]]) -> None:
    """Time `decode(prompts, new tokens)`, which returns completions; print the result as JSON."""
    parser = argparse.ArgumentParser()
    for option in ("--prompts", "--new-tokens", "--threads"):
        parser.add_argument(option, type=int, required=True)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    prompts = make_prompts(options.prompts)
    decode(prompts[:1], 2)  # the first call sets up libraries
    start = time.process_time()
    completions = decode(prompts, options.new_tokens)
    seconds = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # Linux counts KiB
    print(json.dumps({"rate": sum(map(len, completions)) / seconds, "peak_mib": peak}))


def main() -> None:
    model = build_model()

    def decode(prompts: list[list[int]], new_tokens: int) -> list[list[int]]:
        completions = []
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
                pad_token_id=EOS,
            )
            for row in output[:, len(prompt) :].tolist():
                completions.append(row[: row.index(EOS) + 1] if EOS in row else row)
        return completions

    measure(decode)


if __name__ == "__main__":
    main()
