"""Tiny random repositories in the layout of those that the IMDB studies and hub.yaml name.

Weights and texts depend on nothing but this file, and so do the commits that the stand-in gives.
"""

from pathlib import Path

import pyarrow
import pyarrow.parquet
import torch
from tokenizers import ByteLevelBPETokenizer
from transformers import (
    DistilBertConfig,
    DistilBertForSequenceClassification,
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedModel,
    RobertaConfig,
    RobertaForSequenceClassification,
)

from fdpo.core.files import write_json
from fdpo.core.randomness import stream
from tests.support import tiny_chat

SUBJECTS = ["movie", "film", "story", "plot", "cast", "scene", "actor", "ending", "score"]
VERBS = ["was", "seemed", "felt", "looked", "became", "stayed"]
JUDGEMENTS = ["great", "boring", "creepy", "superb", "bad", "lovely", "dull", "perfect", "cool"]
LABELS = {0: "NEGATIVE", 1: "POSITIVE"}
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


def gpt2(folder: Path, positions: int = 512) -> None:
    """A causal language model as it was published in 2020: no tokenizer.json."""
    folder.mkdir(parents=True, exist_ok=True)
    bpe = ByteLevelBPETokenizer()
    corpus = sentences(200, "corpus")
    bpe.train_from_iterator(
        corpus, vocab_size=320, special_tokens=["<|endoftext|>"], show_progress=False
    )
    bpe.save_model(str(folder))
    write_json(folder / "tokenizer_config.json", {"model_max_length": positions})
    size = {"n_embd": 16, "n_layer": 2, "n_head": 2, "initializer_range": 0.3}
    ends = {"bos_token_id": 0, "eos_token_id": 0}
    config = GPT2Config(vocab_size=bpe.get_vocab_size(), n_positions=positions, **size, **ends)
    _save(GPT2LMHeadModel, config, folder)


def distilbert(folder: Path) -> None:
    """A sentiment classifier with a WordPiece vocabulary, at most 64 tokens long."""
    folder.mkdir(parents=True)
    # Written rather than trained: WordPiece training breaks ties otherwise in every process.
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = sorted({"the", *SUBJECTS, *VERBS, *JUDGEMENTS})
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocabulary = [*special, *letters, *(f"##{letter}" for letter in letters), ",", ".", *words]
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
    write_json(folder / "tokenizer_config.json", {"do_lower_case": True, "model_max_length": 64})
    size = {"dim": 16, "hidden_dim": 32, "n_layers": 2, "n_heads": 2, "initializer_range": 0.3}
    config = DistilBertConfig(
        vocab_size=len(vocabulary), max_position_embeddings=64, **size, **SENTIMENT
    )
    _save(DistilBertForSequenceClassification, config, folder)


def roberta(folder: Path) -> None:
    """A sentiment classifier with a byte-level vocabulary whose config alone limits the length."""
    folder.mkdir(parents=True)
    bpe = ByteLevelBPETokenizer()
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    corpus = sentences(200, "corpus")
    bpe.train_from_iterator(corpus, vocab_size=320, special_tokens=special, show_progress=False)
    bpe.save_model(str(folder))
    size = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2}
    size |= {"num_attention_heads": 2, "initializer_range": 0.3, "max_position_embeddings": 66}
    config = RobertaConfig(vocab_size=bpe.get_vocab_size(), **size, **SENTIMENT)
    _save(RobertaForSequenceClassification, config, folder)


def pickled_only(folder: Path, legacy: bool = False) -> None:
    """Turn a model's safetensors into pytorch_model.bin, in PyTorch's present or 2019's format."""
    weights = folder / "model.safetensors"
    model = GPT2LMHeadModel.from_pretrained(folder)
    state = model.state_dict()  # holds the tied embedding under both of its names
    torch.save(state, folder / "pytorch_model.bin", _use_new_zipfile_serialization=not legacy)
    weights.unlink()


def imdb(folder: Path, positive: int = 120) -> None:
    """IMDB's files and columns, negative texts first; some texts begin alike, one has no stop."""
    openings = sentences(2 * positive, "imdb")
    texts = [
        f"{opening}, said {i % 40}. <br /><br />{opening}. Yes."
        for i, opening in enumerate(openings)
    ]
    texts[-1] = "Not one stop in this whole text"
    labels = [0] * positive + [1] * positive
    for split in ("train", "test", "unsupervised"):
        _parquet(folder / f"plain_text/{split}-00000-of-00001.parquet", text=texts, label=labels)
    files = "".join(
        f"  - split: {split}\n    path: plain_text/{split}-*\n"
        for split in ("train", "test", "unsupervised")
    )
    card = f"---\nconfigs:\n- config_name: plain_text\n  data_files:\n{files}  default: true\n---\n"
    (folder / "README.md").write_text(card)


def pairs(folder: Path, train: int = 24, test: int = 6) -> None:
    """Preference pairs in two splits, six of one prompt in a row, as `datasets` pushes them."""
    prompts = [prompt for prompt in sentences(train + test, "pair prompts") for _ in range(6)]
    chosen = [f" and {text}" for text in sentences(len(prompts), "chosen")]
    rejected = [f" but {text}" for text in sentences(len(prompts), "rejected")]
    for split, part in (("train", slice(6 * train)), ("test", slice(6 * train, None))):
        columns = {"prompt": prompts[part], "chosen": chosen[part], "rejected": rejected[part]}
        _parquet(folder / f"data/{split}-00000-of-00001.parquet", **columns)


def prompts(folder: Path, count: int = 12) -> None:
    """Prompts alone, in the split `train`."""
    texts = [f"{text}, number {i}" for i, text in enumerate(sentences(count, "eval prompts"))]
    _parquet(folder / "data/train-00000-of-00001.parquet", prompt=texts)


def _save(kind: type[PreTrainedModel], config, folder: Path) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = kind(config)
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)


def _parquet(path: Path, **columns: list) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(pyarrow.table(columns), path)
