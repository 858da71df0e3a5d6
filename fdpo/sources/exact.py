"""A language model so small that all its completions can be listed, and prompts for it."""

import itertools
import string
from pathlib import Path

import torch
from tokenizers import Regex, Tokenizer, decoders, pre_tokenizers
from tokenizers.models import WordLevel
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from fdpo.core.errors import UserError
from fdpo.core.files import replacing, write_json
from fdpo.core.origin import ORIGIN_FILE
from fdpo.core.randomness import stream
from fdpo.core.records import Prompt

END = 0  # the token that ends a text; the letters follow
WIDTH = 32


def language_model(letters: int, seed: int) -> LlamaForCausalLM:
    """A random Llama of one layer over `letters` letters and the end-of-text token, float32.

    Its weights are drawn far from 0, so that next-token distributions differ by context.
    """
    torch.manual_seed(int(stream(seed, "exact", "weights").integers(2**31)))
    config = LlamaConfig(
        vocab_size=letters + 1,
        hidden_size=WIDTH,
        intermediate_size=2 * WIDTH,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=64,
        initializer_range=0.08,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=END,
        pad_token_id=END,
    )
    return LlamaForCausalLM(config).eval()


def tokenizer(letters: int) -> PreTrainedTokenizerFast:
    """A token a letter: a, b, c, …"""
    tokens = ["<end>", *string.ascii_lowercase[:letters]]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    backend = Tokenizer(WordLevel(vocabulary, unk_token=tokens[0]))
    backend.pre_tokenizer = pre_tokenizers.Split(Regex("[a-z]"), "isolated")
    backend.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, eos_token=tokens[0], pad_token=tokens[0], unk_token=tokens[0]
    )


def prompts(letters: int, length: int, seed: int, train: int, heldout: int) -> list[Prompt]:
    """Distinct texts of `length` letters, drawn by the seed.

    Raises `UserError` where there are not so many.
    """
    texts = ["".join(t) for t in itertools.product(string.ascii_lowercase[:letters], repeat=length)]
    if train + heldout > len(texts):
        raise UserError(
            f"prepare.train_prompts + heldout_prompts = {train + heldout}: there are {len(texts)}"
            f" prompts of {length} of {letters} letters; lower either, or raise prompt_letters"
        )
    drawn = stream(seed, "exact", "prompts").permutation(len(texts))[: train + heldout]
    return [
        Prompt(id=number, prompt=texts[place], role="train" if number < train else "heldout")
        for number, place in enumerate(drawn.tolist())
    ]


def write(folder: Path, letters: int, seed: int) -> None:
    """Write the model and its tokenizer into `folder`, as `save_pretrained` does."""
    with replacing(folder) as scratch:
        language_model(letters, seed).save_pretrained(scratch)
        tokenizer(letters).save_pretrained(scratch)
        write_json(scratch / ORIGIN_FILE, {"name": f"random Llama over {letters} letters"})
