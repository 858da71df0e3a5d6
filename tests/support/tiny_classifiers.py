"""Tiny random sequence classifiers of many families, with tokenizers that pad in every way."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
import transformers
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import AutoModelForSequenceClassification, PreTrainedTokenizerFast

NOUNS = ["film", "plot", "cast", "bore", "sense"]
OTHERS = ["the", "was", "made", "a", "and", "but", "its", "no", "great", "dull", "good", "bad"]
WORDS = [*NOUNS, *OTHERS, ".", ","]
SPECIAL = ["<s>", "<pad>", "</s>", "<unk>"]
VOCABULARY = {word: number for number, word in enumerate([*SPECIAL, *WORDS])}
POSITIONS = 40

_COMMON: dict[str, Any] = {
    "vocab_size": len(VOCABULARY),
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": POSITIONS,
    "initializer_range": 0.5,  # far from uniform, so that mistakes show
}
_DECODER = _COMMON | {"num_key_value_heads": 1, "head_dim": 8}
_ENCODERS = {
    "bert": _COMMON,
    "distilbert": _COMMON | {"hidden_dim": 24},
    "roberta": _COMMON,
    "albert": _COMMON | {"embedding_size": 16},
    "mpnet": _COMMON,
    "deberta-v2": _COMMON | {"relative_attention": True, "pos_att_type": ["p2c", "c2p"]},
    "modernbert": _COMMON | {"num_hidden_layers": 3},
}
CONFIGS = _ENCODERS | {
    "gpt2": _COMMON,
    "llama": _COMMON,
    "mistral": _DECODER,
    "qwen3": _DECODER,
    "gemma2": _DECODER | {"query_pre_attn_scalar": 8},
    "phi3": _COMMON | {"pad_token_id": None},
    "gpt_neox": _COMMON,
    "opt": _COMMON | {"ffn_dim": 24, "word_embed_proj_dim": 16},
}

Padding = Literal["own", "end of text", "none"]


@dataclass(frozen=True)
class Variant:
    """What a tokenizer may say about padding, and how many classes the head has."""

    padding: Padding
    padding_side: Literal["left", "right"]
    truncation_side: Literal["left", "right"]
    classes: int


def tokenizer(variant: Variant, appends_end: bool) -> PreTrainedTokenizerFast:
    """Words of `WORDS` as tokens, begun with <s>, and ended with </s> if wanted."""
    backend = Tokenizer(WordLevel(VOCABULARY, unk_token="<unk>"))  # noqa: S106 - no password
    backend.pre_tokenizer = Whitespace()
    backend.post_processor = TemplateProcessing(
        single="<s> $A </s>" if appends_end else "<s> $A",
        special_tokens=[(token, VOCABULARY[token]) for token in ("<s>", "</s>")],
    )
    pad = {"own": "<pad>", "end of text": "</s>", "none": None}[variant.padding]
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token="<s>",  # noqa: S106
        eos_token="</s>",  # noqa: S106
        unk_token="<unk>",  # noqa: S106
        padding_side=variant.padding_side,
        truncation_side=variant.truncation_side,
        **({} if pad is None else {"pad_token": pad}),
    )


def build(folder: Path, family: str, variant: Variant, appends_end: bool = True) -> Path:
    """Write a random classifier of `family` into `folder`, as `save_pretrained` does."""
    words = tokenizer(variant, appends_end)
    special = {"pad_token_id": words.pad_token_id, "eos_token_id": 2, "bos_token_id": 0}
    # Encoders take their padding from the config, not from the tokenizer.
    if family in _ENCODERS or family == "opt":
        special["pad_token_id"] = 1
    settings = CONFIGS[family] | special
    config = transformers.AutoConfig.for_model(family, **settings, num_labels=variant.classes)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = AutoModelForSequenceClassification.from_config(config)
    model.save_pretrained(folder)
    words.save_pretrained(folder)
    return folder
