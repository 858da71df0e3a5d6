"""Models and pairs to measure training on: `python -m benchmarks.workload NAME FOLDER PROMPTS`.

Writes FOLDER/model and FOLDER/pairs.jsonl. Their ids are what tokenising their text gives, each
completion closed by end-of-text, as TRL closes it: so both sides train on the same tokens.
"""

import sys
from collections.abc import Iterator
from itertools import islice
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

from fdpo.core import records
from fdpo.core.randomness import stream
from fdpo.core.records import Pair, ScoredCompletion, ScoredGeneration
from fdpo.models.causal_lm import load_tokenizer
from fdpo.pairing import pairs_of
from stages import paths

RANKS = [[1, 4], [1, 5], [1, 6], [2, 6], [3, 6], [4, 6]]  # of six completions, as in params.yaml
TINY_VOCABULARY = 500


def main() -> None:
    name, folder, prompts = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    folder.mkdir(parents=True, exist_ok=True)
    if name == "smollm2":
        (folder / "model").symlink_to(paths.REFERENCE_MODEL.resolve())
        pairs = recorded_pairs(load_tokenizer(paths.REFERENCE_MODEL), prompts)
    else:
        model = gpt2() if name == "gpt2" else tiny_llama() if name == "tiny-llama" else tiny_gpt2()
        save(model, folder / "model")
        pairs = drawn_pairs(prompts, model.config.vocab_size, shortest=8 if "tiny" in name else 40)
    count = records.write(folder / "pairs.jsonl", pairs)
    if count != prompts * len(RANKS):
        sys.exit(
            f"{paths.TRAIN_PAIRS}: {count} pairs of prompts with all {len(RANKS)},"
            f" not {prompts} prompts"
        )


def recorded_pairs(tokenizer: PreTrainedTokenizerBase, prompts: int) -> Iterator[Pair]:
    """The pairs of the embedded study's first prompts that have all six, ids from their text."""
    by_prompt: dict[int, list[Pair]] = {}
    for pair in records.read(paths.TRAIN_PAIRS, Pair):
        by_prompt.setdefault(pair.id, []).append(pair)
    retokenised = ([again(tokenizer, pair) for pair in own] for own in by_prompt.values())
    whole = (own for own in retokenised if len(own) == len(RANKS) and all(own))
    for own in islice(whole, prompts):
        yield from own


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
