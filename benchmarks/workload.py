"""Models and pairs to train on: `python -m benchmarks.workload FOLDER MODEL SHAPE PROMPTS`.

Writes FOLDER/model and FOLDER/pairs.jsonl. Their ids are what tokenising their text gives, each
completion closed by end-of-text, as TRL closes it: so both sides train on the same tokens.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    LlamaConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)

from fdpo.core import records
from fdpo.core.randomness import stream
from fdpo.core.records import Pair, ScoredCompletion, ScoredGeneration
from fdpo.models.causal_lm import load_tokenizer
from fdpo.pairing import pairs_of
from stages import paths

SIX_PAIRS = [[1, 4], [1, 5], [1, 6], [2, 6], [3, 6], [4, 6]]  # of six completions


@dataclass(frozen=True)
class Shape:
    """Random texts. Completions have one length, or lengths like IMDB's."""

    prompt: int  # tokens
    completions: int  # of each prompt
    tokens: int  # of a completion; of the shortest one of `varied` lengths
    ranks: Sequence[Sequence[int]]  # a pair of each prompt for each [chosen, rejected]
    varied: bool = False

    def lengths(self, draws: np.random.Generator) -> list[int]:
        """Tokens of a prompt's completions: log-normal about 110 where 40 is the shortest."""
        if not self.varied:
            return [self.tokens] * self.completions
        drawn = draws.lognormal(4.7, 0.5, size=self.completions).clip(40, 232)
        return (drawn * self.tokens / 40).astype(int).tolist()


ALL_SIX = list(combinations(range(1, 5), 2))
SHAPES = {
    "imdb": Shape(24, 6, 40, SIX_PAIRS, varied=True),
    "imdb-5th": Shape(5, 6, 8, SIX_PAIRS, varied=True),
    "long-six": Shape(512, 4, 256, ALL_SIX),
    "long-six-4th": Shape(128, 4, 64, ALL_SIX),
    "long-six-32nd": Shape(16, 4, 8, ALL_SIX),
    "long-one": Shape(512, 4, 256, [[1, 4]]),
    "unshared": Shape(128, 2, 128, [[1, 2]]),  # a pair shares its prompt within itself alone
    "unshared-half": Shape(64, 2, 64, [[1, 2]]),
    "unshared-16th": Shape(8, 2, 8, [[1, 2]]),
}


def main() -> None:
    folder, name, shape, prompts = Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])
    if name == "reference":
        (folder / "model").symlink_to(paths.REFERENCE_MODEL.resolve())
        pairs = recorded_pairs(load_tokenizer(paths.REFERENCE_MODEL), prompts)
    else:
        save(MODELS[name], folder / "model")
        pairs = random_pairs(SHAPES[shape], prompts, MODELS[name].vocab_size)
    records.write(folder / "pairs.jsonl", pairs)


def random_pairs(shape: Shape, prompts: int, vocabulary: int) -> Iterator[Pair]:
    """Pairs of random ids, the last of a completion being end-of-text."""
    draws = stream(1, "workload", prompts, shape.prompt, shape.tokens)
    end = vocabulary - 1
    for number in range(prompts):
        completions = [
            ScoredCompletion(
                text="",
                ids=[*draws.integers(0, end, length - 1).tolist(), end],
                finished=True,
                ref_logp=0.0,  # the reference pass fills it in
                reward=draws.random(),
            )
            for length in shape.lengths(draws)
        ]
        prompt = draws.integers(0, end, shape.prompt).tolist()
        generation = ScoredGeneration(
            id=number, prompt="", role="train", prompt_ids=prompt, completions=completions
        )
        yield from pairs_of(generation, shape.ranks)


def recorded_pairs(tokenizer: PreTrainedTokenizerBase, prompts: int) -> Iterator[Pair]:
    """Six pairs of each of the study's first prompts, whichever pairs it trains on.

    Prompts are left out whose completions are not six different ones, or do not have the ids of
    their text.
    """
    found = 0
    for generation in records.read(paths.SCORES, ScoredGeneration):
        if found == prompts or generation.role != "train":
            continue
        pairs = [retokenised(tokenizer, pair) for pair in pairs_of(generation, SIX_PAIRS)]
        if len(pairs) == len(SIX_PAIRS) and all(pairs):
            found += 1
            yield from (pair for pair in pairs if pair)
    if found < prompts:
        sys.exit(f"{paths.SCORES}: {found} prompts with six different completions, not {prompts}")


def retokenised(tokenizer: PreTrainedTokenizerBase, pair: Pair) -> Pair | None:
    """The pair with the ids of its text; None where prompt and completion merge in a token."""
    sides = {}
    for side in ("chosen_ids", "rejected_ids"):
        ids = tokenizer(tokenizer.decode(pair.prompt_ids + getattr(pair, side))).input_ids
        if ids[: len(pair.prompt_ids)] != pair.prompt_ids:
            return None
        ended = ids[-1] == tokenizer.eos_token_id
        sides[side] = ids[len(pair.prompt_ids) :] + ([] if ended else [tokenizer.eos_token_id])
    return pair.model_copy(update=sides)


def llama(hidden: int, inner: int, layers: int, heads: int, kv: int, vocabulary: int):
    return LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=hidden,
        intermediate_size=inner,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv,
        max_position_embeddings=8192,
        tie_word_embeddings=True,
        eos_token_id=vocabulary - 1,
        bos_token_id=None,
    )


# Shapes of published models; with random weights they cost what the trained ones do.
MODELS: dict[str, PreTrainedConfig] = {
    "gpt2": GPT2Config(),
    "llama-135m": llama(576, 1536, 30, 9, 3, vocabulary=49152),  # SmolLM2-135M
    "tiny-gpt2": GPT2Config(
        vocab_size=500, n_embd=32, n_layer=2, n_head=2, eos_token_id=499, bos_token_id=499
    ),
    "tiny-llama": llama(32, 64, 2, 2, 2, vocabulary=500),
}


def build(config: PreTrainedConfig) -> PreTrainedModel:
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config).eval()


def save(config: PreTrainedConfig, folder: Path) -> None:
    """Save a random model with a tokenizer of as many words, the last of them end-of-text."""
    build(config).save_pretrained(folder)
    end = config.vocab_size - 1
    words = {f"w{number}": number for number in range(end)} | {"<|endoftext|>": end}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="w0"))  # noqa: S106 - no password
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|endoftext|>")  # noqa: S106
    wrapped.save_pretrained(folder)


if __name__ == "__main__":
    main()
