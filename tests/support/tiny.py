"""Tiny randomly initialised models, and what a plain forward pass says of them."""

import string
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers.models import BPE, WordLevel
from torch import Tensor, nn
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from fdpo.core.records import Pair
from fdpo.models.attention import BRANCHES

VOCABULARY = 37
END = 0


_SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "max_position_embeddings": 128}
_SIZES |= {"initializer_range": 0.4, "eos_token_id": END}  # far from uniform, so that mistakes show


def llama(dtype: torch.dtype = torch.float64, vocabulary: int = VOCABULARY) -> LlamaForCausalLM:
    """Two layers, four heads on two key-value heads.

    In float64 its norms are PyTorch's, since Transformers' own round to float32.
    """
    torch.manual_seed(0)
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 24}
    config = LlamaConfig(vocab_size=vocabulary, bos_token_id=None, **_SIZES, **heads)
    model = LlamaForCausalLM(config)
    if dtype == torch.float64:
        for layer in model.model.layers:
            layer.input_layernorm = nn.RMSNorm(config.hidden_size, config.rms_norm_eps)
            layer.post_attention_layernorm = nn.RMSNorm(config.hidden_size, config.rms_norm_eps)
        model.model.norm = nn.RMSNorm(config.hidden_size, config.rms_norm_eps)
    return _ready(model, dtype)


def gpt2(dtype: torch.dtype = torch.float64) -> GPT2LMHeadModel:
    """Two layers, two heads, absolute positions, without dropout."""
    torch.manual_seed(0)
    dropout = dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0)
    sizes = _SIZES | {"vocab_size": VOCABULARY, "num_attention_heads": 2}
    return _ready(GPT2LMHeadModel(GPT2Config(bos_token_id=END, **sizes, **dropout)), dtype)


def _ready(model: PreTrainedModel, dtype: torch.dtype) -> PreTrainedModel:
    model.set_attn_implementation(BRANCHES)
    return model.to(dtype).eval()


def save_random(
    kind: type[PreTrainedModel], config: PreTrainedConfig, folder: Path, seed: int = 0, **more: bool
) -> None:
    """Save a model of random weights that follow from `seed` alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        kind(config, **more).save_pretrained(folder)


def tokenizer() -> PreTrainedTokenizerFast:
    """A word an id: "0", "1", …; the first ends a text."""
    words = {str(number): number for number in range(VOCABULARY)}
    backend = Tokenizer(WordLevel(words, unk_token="1"))  # noqa: S106 - no password
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    ends = {"eos_token": str(END), "pad_token": str(END)}
    return PreTrainedTokenizerFast(tokenizer_object=backend, **ends)


def sentencepiece_like(append_end: bool = False) -> PreTrainedTokenizerFast:
    """Like Llama 2's: a word begins with its space, a text with <s> and a space of its own."""
    words = ("explain", "number", "fine")
    stems = [word[:end] for word in words for end in range(2, len(word) + 1)]
    joins = [(stem[:-1], stem[-1]) for stem in stems] + [("▁", word) for word in words]
    pieces = ["<unk>", "<s>", "</s>", "▁", "\n", *string.ascii_letters, *".,!?é", *stems]
    pieces += [f"▁{word}" for word in words]
    vocabulary = {piece: number for number, piece in enumerate(dict.fromkeys(pieces))}
    backend = Tokenizer(BPE(vocabulary, joins, unk_token="<unk>"))  # noqa: S106 - no password
    backend.normalizer = normalizers.NFC()
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    backend.decoder = decoders.Metaspace(prepend_scheme="first", split=False)
    end = " </s>" if append_end else ""
    backend.post_processor = processors.TemplateProcessing(
        single=f"<s> $A{end}", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    special = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    return PreTrainedTokenizerFast(tokenizer_object=backend, **special)


def plain_token_logps(
    model: PreTrainedModel, prompt: Sequence[int], completion: Sequence[int]
) -> Tensor:
    """log π of each completion token, from one unpacked forward pass of one sequence.

    The model must attend by "sdpa" or "eager".
    """
    logits = model(input_ids=torch.tensor([[*prompt, *completion]]), use_cache=False).logits[0]
    predicting = F.log_softmax(logits[len(prompt) - 1 : -1], dim=-1)
    return predicting.gather(1, torch.tensor([list(completion)]).T)[:, 0]


def plain_logp(model: PreTrainedModel, prompt: Sequence[int], completion: Sequence[int]) -> Tensor:
    """log π(completion | prompt), summed over its tokens."""
    return plain_token_logps(model, prompt, completion).sum()


def pair(
    prompt: Sequence[int],
    chosen: Sequence[int],
    rejected: Sequence[int],
    ref_chosen_logp: float = -3.0,
    ref_rejected_logp: float = -4.0,
    number: int = 0,
) -> Pair:
    return Pair(
        id=number,
        prompt_ids=list(prompt),
        chosen_ids=list(chosen),
        rejected_ids=list(rejected),
        ref_chosen_logp=ref_chosen_logp,
        ref_rejected_logp=ref_rejected_logp,
        chosen_reward=1.0,
        rejected_reward=0.0,
        chosen_rank=1,
        rejected_rank=2,
    )
