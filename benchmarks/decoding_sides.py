"""One side of benchmarks/decoding.py: `python -m benchmarks.decoding_sides SIDE SIZES …`.

Of the model's own distribution at temperature 1; no token ends a completion of the samplers.
"""

import argparse

import torch
from transformers import GPT2LMHeadModel

from benchmarks.group_beams import (
    GROUPS,
    NGRAM,
    PENALTY,
    SIZES,
    Prompts,
    build_model,
    make_prompts,
    measure,
)
from fdpo.core.device import autocast, device
from fdpo.core.randomness import streams_of
from fdpo.decoding.diverse_beams import BeamSettings, diverse_beam_search
from fdpo.decoding.sampling import sample, uniforms
from fdpo.models.causal_lm import cached_attention, use_branch_attention


def fdpo(model: GPT2LMHeadModel, prompts: Prompts, new_tokens: int) -> int:
    draws = [
        uniforms(streams_of(1), "benchmark", number, GROUPS, new_tokens)
        for number in range(len(prompts))
    ]
    use_branch_attention(model)
    with cached_attention(model):
        rows = sample(model, prompts, draws, end_ids=[])
    return sum(len(sampled.ids) for row in rows for sampled in row)


def fdpo_beams(model: GPT2LMHeadModel, prompts: Prompts, new_tokens: int) -> int:
    end = model.config.eos_token_id
    settings = BeamSettings(GROUPS, PENALTY, NGRAM, new_tokens, bias={}, banned=())
    use_branch_attention(model)
    with cached_attention(model):
        rows = diverse_beam_search(model, prompts, settings, end_ids=[end], pad_id=end)
    return sum(len(completion.ids) for row in rows for completion in row)


def generate(model: GPT2LMHeadModel, prompts: Prompts, new_tokens: int) -> int:
    """One batch, padded on the left, as Transformers documents it."""
    longest = max(map(len, prompts))
    padded = [[0] * (longest - len(prompt)) + prompt for prompt in prompts]
    mask = [[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts]
    with autocast():
        output = model.generate(
            torch.tensor(padded, device=device()),
            attention_mask=torch.tensor(mask, device=device()),
            do_sample=True,
            top_k=0,
            num_return_sequences=GROUPS,
            min_new_tokens=new_tokens,
            max_new_tokens=new_tokens,
            pad_token_id=0,
        )
    return output[:, longest:].numel()


def generate_batch(model: GPT2LMHeadModel, prompts: Prompts, new_tokens: int) -> int:
    """Continuous batching: each completion is a request of its own."""
    config = model.generation_config
    config.do_sample, config.top_k, config.eos_token_id = True, 0, -1
    requests = [prompt for prompt in prompts for _ in range(GROUPS)]
    with autocast():
        found = model.generate_batch(requests, config, max_new_tokens=new_tokens)
    if len(found) != len(requests):
        raise SystemExit(f"generate_batch: {len(found)} of {len(requests)} completions")
    return sum(len(output.generated_tokens) for output in found.values())


SIDES = {
    "fdpo": fdpo,
    "fdpo-beams": fdpo_beams,
    "generate": generate,
    "generate-batch": generate_batch,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("side", choices=SIDES)
    for size in SIZES:
        parser.add_argument(size, type=int)
    options = parser.parse_args()
    model = build_model(options.layers).to(device())
    decode = SIDES[options.side]
    prompts = make_prompts(options.prompts, model.config.vocab_size)
    measure(
        lambda some, new_tokens: decode(model, some, new_tokens), prompts, options.new_tokens
    )


if __name__ == "__main__":
    main()
