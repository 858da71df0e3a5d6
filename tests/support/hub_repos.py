"""Tiny random repositories in the layout of those that the IMDB studies and hub.yaml name.

Weights and texts depend on nothing but this file, and so do the commits that the stand-in gives.
"""

from pathlib import Path
from string import ascii_lowercase

import pyarrow
import pyarrow.parquet
import torch
from tokenizers import ByteLevelBPETokenizer
from transformers import (
    DistilBertConfig,
    DistilBertForSequenceClassification,
    GPT2Config,
    GPT2LMHeadModel,
    RobertaConfig,
    RobertaForSequenceClassification,
)

from fdpo.core.files import write_json
from fdpo.core.randomness import stream
from tests.support import tiny_chat
from tests.support.tiny import save_random

SUBJECTS = ["movie", "film", "story", "plot", "cast", "scene", "actor", "ending", "score"]
VERBS = ["was", "seemed", "felt", "looked", "became", "stayed"]
JUDGEMENTS = ["great", "boring", "creepy", "superb", "bad", "lovely", "dull", "perfect", "cool"]
LABELS = {0: "NEGATIVE", 1: "POSITIVE"}
_SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
_SIZES |= {"initializer_range": 0.3}
SENTIMENT = {"id2label": LABELS, "label2id": {label: index for index, label in LABELS.items()}}


def build_all(folder: Path) -> None:
    """Every repository of these studies below `folder`, in the stand-in's layout."""
    models, datasets = folder / "models", folder / "datasets"
    gpt2(models / "lvwerra/gpt2-imdb")
    distilbert(models / "lvwerra/distilbert-imdb")
    roberta(models / "siebert/sentiment-roberta-large-english")
    imdb(datasets / "stanfordnlp/imdb")
    pairs(datasets / "therem/dpo_dataset")
    prompts(datasets / "therem/dpo_dataset_eval")
    tiny_chat.walk_repos(folder)


def sentences(count: int, purpose: str) -> list[str]:
    draw = stream(0, "hub repos", purpose)
    parts = ([draw.choice(words) for words in (SUBJECTS, VERBS, JUDGEMENTS)] for _ in range(count))
    return [f"The {subject} {verb} {judgement}" for subject, verb, judgement in parts]


def gpt2(folder: Path) -> None:
    """A causal language model as it was published in 2020: no tokenizer.json."""
    vocabulary = _byte_level(folder, ["<|endoftext|>"])
    write_json(folder / "tokenizer_config.json", {"model_max_length": 512})
    ends = {"bos_token_id": 0, "eos_token_id": 0}
    config = GPT2Config(vocab_size=vocabulary, max_position_embeddings=512, **_SIZES, **ends)
    save_random(GPT2LMHeadModel, config, folder)
    (folder / "generation_config.json").unlink()


def distilbert(folder: Path) -> None:
    """A sentiment classifier with a WordPiece vocabulary, at most 64 tokens long."""
    folder.mkdir(parents=True)
    # Written rather than trained: WordPiece training breaks ties otherwise in every process.
    words = sorted({"the", *SUBJECTS, *VERBS, *JUDGEMENTS})
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    inner = [f"##{letter}" for letter in ascii_lowercase]
    vocabulary = [*special, *ascii_lowercase, *inner, ",", ".", *words]
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
    write_json(folder / "tokenizer_config.json", {"do_lower_case": True, "model_max_length": 64})
    size = _SIZES | {"hidden_dim": 32, "max_position_embeddings": 64}
    config = DistilBertConfig(vocab_size=len(vocabulary), **size, **SENTIMENT)
    save_random(DistilBertForSequenceClassification, config, folder)


def roberta(folder: Path) -> None:
    """A sentiment classifier with a byte-level vocabulary whose config alone limits the length."""
    vocabulary = _byte_level(folder, ["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
    size = _SIZES | {"intermediate_size": 32, "max_position_embeddings": 66}
    config = RobertaConfig(vocab_size=vocabulary, **size, **SENTIMENT)
    save_random(RobertaForSequenceClassification, config, folder)


def _byte_level(folder: Path, special: list[str]) -> int:
    """Write a byte-level vocabulary; its size."""
    folder.mkdir(parents=True, exist_ok=True)
    bpe = ByteLevelBPETokenizer()
    corpus = sentences(200, "corpus")
    bpe.train_from_iterator(corpus, vocab_size=320, special_tokens=special, show_progress=False)
    bpe.save_model(str(folder))
    return bpe.get_vocab_size()


def pickled_only(folder: Path, legacy: bool = False) -> None:
    """Turn a model's safetensors into pytorch_model.bin, in PyTorch's present or 2019's format."""
    weights = folder / "model.safetensors"
    model = GPT2LMHeadModel.from_pretrained(folder)
    state = model.state_dict()  # holds the tied embedding under both of its names
    torch.save(state, folder / "pytorch_model.bin", _use_new_zipfile_serialization=not legacy)
    weights.unlink()


def imdb(folder: Path) -> None:
    """IMDB's files and columns, negative texts first; some texts begin alike, one has no stop."""
    texts = [
        f"{opening}, said {i % 40}. <br /><br />{opening}. Yes."
        for i, opening in enumerate(sentences(240, "imdb"))
    ]
    texts[-1] = "Not one stop in this whole text"
    labels = [0] * 120 + [1] * 120
    card = "---\nconfigs:\n- config_name: plain_text\n  default: true\n  data_files:\n"
    for split in ("train", "test", "unsupervised"):
        _parquet(folder / f"plain_text/{split}-00000-of-00001.parquet", text=texts, label=labels)
        card += f"  - split: {split}\n    path: plain_text/{split}-*\n"
    (folder / "README.md").write_text(f"{card}---\n")


def pairs(folder: Path) -> None:
    """Preference pairs in two splits, six of one prompt in a row, as `datasets` pushes them."""
    prompts = [prompt for prompt in sentences(30, "pair prompts") for _ in range(6)]
    chosen = [f" and {text}" for text in sentences(len(prompts), "chosen")]
    rejected = [f" but {text}" for text in sentences(len(prompts), "rejected")]
    for split, part in (("train", slice(144)), ("test", slice(144, None))):
        columns = {"prompt": prompts[part], "chosen": chosen[part], "rejected": rejected[part]}
        _parquet(folder / f"data/{split}-00000-of-00001.parquet", **columns)


def prompts(folder: Path) -> None:
    """Prompts alone, in the split `train`."""
    texts = [f"{text}, number {i}" for i, text in enumerate(sentences(12, "eval prompts"))]
    _parquet(folder / "data/train-00000-of-00001.parquet", prompt=texts)


def _parquet(path: Path, **columns: list) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(pyarrow.table(columns), path)
