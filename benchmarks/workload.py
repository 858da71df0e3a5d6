"""Models and pairs to train on: `python -m benchmarks.workload MODEL SHAPE FOLDER PROMPTS`.

Writes FOLDER/model and FOLDER/pairs.jsonl. Their ids are what tokenising their text gives, each
completion closed by end-of-text, as TRL closes it: so both sides train on the same tokens.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)

from benchmarks.train import RECORDED
from fdpo.core import records
from fdpo.core.randomness import stream
from fdpo.core.records import Pair, ScoredCompletion, ScoredGeneration
from fdpo.models.causal_lm import load_tokenizer
from fdpo.pairing import pairs_of
from stages import paths

RANKS = [[1, 4], [1, 5], [1, 6], [2, 6], [3, 6], [4, 6]]  # of six completions, as in params.yaml
TINY_VOCABULARY = 500


@dataclass(frozen=True)
class Lengths:
    """A shape whose prompts and completions are all of one length, which spares TRL its padding."""

    prompt: int  # tokens
    completions: int  # of each prompt
    tokens: int  # of a completion
    ranks: Sequence[Sequence[int]]  # a pair of each prompt for each [chosen, rejected]

    def shrunk(self, divisor: int) -> "Lengths":
        """The same with shorter texts, for a quicker look."""
        return Lengths(self.prompt // divisor, self.completions, self.tokens // divisor, self.ranks)


LONG_SIX = Lengths(512, 4, 256, [list(pair) for pair in combinations(range(1, 5), 2)])
LONG_ONE = Lengths(512, 4, 256, [[1, 4]])
UNSHARED = Lengths(128, 2, 128, [[1, 2]])  # a pair shares its prompt within itself alone
SHAPES = {
    "long-six": LONG_SIX,
    "long-one": LONG_ONE,
    "unshared": UNSHARED,
    "long-six-quarter": LONG_SIX.shrunk(4),
    "unshared-half": UNSHARED.shrunk(2),
    "long-six-tiny": LONG_SIX.shrunk(32),
    "long-one-tiny": LONG_ONE.shrunk(32),
    "unshared-tiny": UNSHARED.shrunk(16),
}


def main() -> None:
    name, shape, folder, prompts = sys.argv[1], sys.argv[2], Path(sys.argv[3]), int(sys.argv[4])
    folder.mkdir(parents=True, exist_ok=True)
    if shape == RECORDED:
        (folder / "model").symlink_to(paths.REFERENCE_MODEL.resolve())
        pairs = recorded_pairs(load_tokenizer(paths.REFERENCE_MODEL), prompts)
    else:
        model = MODELS[name]()
        save(model, folder / "model")
        pairs = shaped_pairs(shape, prompts, model.config.vocab_size)
    expected = prompts * len(SHAPES[shape].ranks if shape in SHAPES else RANKS)
    count = records.write(folder / "pairs.jsonl", pairs)
    if count != expected:
        sys.exit(f"{paths.SCORES}: {count} pairs of prompts with all six, not {expected}")


def shaped_pairs(shape: str, prompts: int, vocabulary: int) -> Iterator[Pair]:
    """Random pairs of a shape: one of `SHAPES`, or imdb and imdb-fifth."""
    if shape in SHAPES:
        return equal_pairs(SHAPES[shape], prompts, vocabulary)
    return drawn_pairs(prompts, vocabulary, shortest={"imdb": 40, "imdb-fifth": 8}[shape])


def equal_pairs(shape: Lengths, prompts: int, vocabulary: int) -> Iterator[Pair]:
    """Random pairs of equal lengths, the last token of a completion being end-of-text."""
    draws = stream(1, "workload", prompts, shape.prompt, shape.tokens)
    for number in range(prompts):
        prompt = draws.integers(0, vocabulary - 1, shape.prompt).tolist()
        completions = [
            ScoredCompletion(
                text="",
                ids=[*draws.integers(0, vocabulary - 1, shape.tokens - 1).tolist(), vocabulary - 1],
                finished=True,
                ref_logp=0.0,  # the reference pass fills it in
                reward=draws.random(),
            )
            for _ in range(shape.completions)
        ]
        generation = ScoredGeneration(
            id=number, prompt="", role="train", prompt_ids=prompt, completions=completions
        )
        yield from pairs_of(generation, shape.ranks)


def recorded_pairs(tokenizer: PreTrainedTokenizerBase, prompts: int) -> Iterator[Pair]:
    """Six pairs of each of the embedded study's first prompts, whatever pairs it trains on.

    Prompts are left out whose completions are not six different ones, or do not have the ids of
    their text.
    """
    found = 0
    for generation in records.read(paths.SCORES, ScoredGeneration):
        if found == prompts or generation.role != "train":
            continue
        pairs = [again(tokenizer, pair) for pair in pairs_of(generation, RANKS)]
        if len(pairs) == len(RANKS) and all(pairs):
            found += 1
            yield from (pair for pair in pairs if pair)


def again(tokenizer: PreTrainedTokenizerBase, pair: Pair) -> Pair | None:
    """The pair with the ids of its text; None where prompt and completion merge in a token."""
    sides = {}
    for side in ("chosen_ids", "rejected_ids"):
        ids = tokenizer(tokenizer.decode(pair.prompt_ids + getattr(pair, side))).input_ids
        if ids[: len(pair.prompt_ids)] != pair.prompt_ids:
            return None
        ended = ids[-1] == tokenizer.eos_token_id
        sides[side] = ids[len(pair.prompt_ids) :] + ([] if ended else [tokenizer.eos_token_id])
    return pair.model_copy(update=sides)


def drawn_pairs(prompts: int, vocabulary: int, shortest: int) -> Iterator[Pair]:
    """Random pairs of lengths like IMDB's: prompts of 24 tokens, completions of 40 to 232.

    Lengths are log-normal about 110 tokens, clipped. (`shortest` = 8 scales them down to a fifth.)
    """
    draws = stream(1, "workload", prompts, shortest)
    scale = shortest / 40
    for number in range(prompts):
        prompt = draws.integers(0, vocabulary - 1, round(24 * scale)).tolist()
        lengths = draws.lognormal(4.7, 0.5, size=6).clip(40, 232) * scale
        completions = [
            ScoredCompletion(
                text="",
                ids=[*draws.integers(0, vocabulary - 1, int(length) - 1).tolist(), vocabulary - 1],
                finished=True,
                ref_logp=0.0,  # the reference pass fills it in
                reward=draws.random(),
            )
            for length in lengths
        ]
        generation = ScoredGeneration(
            id=number, prompt="", role="train", prompt_ids=prompt, completions=completions
        )
        yield from pairs_of(generation, RANKS)


def gpt2() -> PreTrainedModel:
    """GPT-2 of 124 million parameters: the cost is that of the trained one."""
    torch.manual_seed(0)
    return GPT2LMHeadModel(GPT2Config())


def llama_135m() -> PreTrainedModel:
    """SmolLM2-135M's shape with random weights: the cost is that of the trained one."""
    torch.manual_seed(0)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=49152,
            hidden_size=576,
            intermediate_size=1536,
            num_hidden_layers=30,
            num_attention_heads=9,
            num_key_value_heads=3,
            max_position_embeddings=8192,
            tie_word_embeddings=True,
            eos_token_id=49151,
            bos_token_id=None,
        )
    )


def tiny_gpt2() -> PreTrainedModel:
    torch.manual_seed(0)
    return GPT2LMHeadModel(
        GPT2Config(
            vocab_size=TINY_VOCABULARY,
            n_embd=32,
            n_layer=2,
            n_head=2,
            eos_token_id=TINY_VOCABULARY - 1,
            bos_token_id=TINY_VOCABULARY - 1,
        )
    )


def tiny_llama() -> PreTrainedModel:
    torch.manual_seed(0)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=TINY_VOCABULARY,
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=2,
            eos_token_id=TINY_VOCABULARY - 1,
            bos_token_id=None,
        )
    )


MODELS: dict[str, Callable[[], PreTrainedModel]] = {
    "gpt2": gpt2,
    "llama-135m": llama_135m,
    "tiny-gpt2": tiny_gpt2,
    "tiny-llama": tiny_llama,
}


def save(model: PreTrainedModel, folder: Path) -> None:
    """Save the model with a tokenizer of as many words, the last of them end-of-text."""
    model.save_pretrained(folder)
    end = model.config.vocab_size - 1
    words = {f"w{number}": number for number in range(end)} | {"<|endoftext|>": end}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="w0"))  # noqa: S106 - no password
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|endoftext|>")  # noqa: S106
    wrapped.save_pretrained(folder)


if __name__ == "__main__":
    main()
