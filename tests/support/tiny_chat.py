"""Tiny random chat models and reward models of chats, for the walks of docs/own-study.md.

    python -m tests.support.tiny_chat user_data

writes user_data/model and user_data/reward, as `save_pretrained` does. Weights and tokenizer
depend on this file and user_data/ alone.
"""

import sys
from pathlib import Path

import pyarrow.csv
import pyarrow.parquet
from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen2ForSequenceClassification,
)

from tests.support.tiny import save_random

EXAMPLES = Path(__file__).parents[2] / "user_data"
END = "<|endoftext|>"
SPECIAL = [END, "<|im_start|>", "<|im_end|>"]


def tokenizer() -> PreTrainedTokenizerFast:
    """ChatML's tokens and template, and byte pairs of the examples' words."""
    bpe = Tokenizer(BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    texts = [(EXAMPLES / name).read_text() for name in ("pairs.jsonl", "prompts.csv")]
    trainer = BpeTrainer(vocab_size=400, special_tokens=SPECIAL, show_progress=False)
    trainer.initial_alphabet = pre_tokenizers.ByteLevel.alphabet()
    bpe.train_from_iterator(texts, trainer)
    made = PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token=END, pad_token=END)
    made.chat_template = (EXAMPLES / "chatml.jinja").read_text()
    return made


def chat_model(folder: Path) -> None:
    """A causal language model of 40 thousand weights that knows ChatML."""
    _save(Qwen2ForCausalLM, folder)


def reward_model(folder: Path, seed: int = 0) -> None:
    """A classifier with one output and a chat template, as most reward models are."""
    _save(Qwen2ForSequenceClassification, folder, seed, num_labels=1)


def walk_repos(folder: Path) -> None:
    """What studies/hub.yaml names, below `folder` in the layout of the Hub's stand-in."""
    chat_model(folder / "models/you/chat-model")
    reward_model(folder / "models/you/reward-model")
    reward_model(folder / "models/you/other-reward-model", seed=1)
    table = pyarrow.csv.read_csv(EXAMPLES / "prompts.csv")
    path = folder / "datasets/you/questions/data/train-00000-of-00001.parquet"
    path.parent.mkdir(parents=True)
    pyarrow.parquet.write_table(table, path)


def _save(kind: type[PreTrainedModel], folder: Path, seed: int = 0, **more: int) -> None:
    words = tokenizer()
    size = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    size |= {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 512}
    ends = {"bos_token_id": None, "eos_token_id": words.eos_token_id}
    ends |= {"pad_token_id": words.pad_token_id, "tie_word_embeddings": True}
    config = Qwen2Config(vocab_size=len(words), initializer_range=0.3, **size, **ends, **more)
    save_random(kind, config, folder, seed)
    words.save_pretrained(folder)


if __name__ == "__main__":
    chat_model(Path(sys.argv[1], "model"))
    reward_model(Path(sys.argv[1], "reward"))
