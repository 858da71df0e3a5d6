"""The judge: ridge regression on the mean-pooled embeddings of a sentence encoder."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from transformers import AutoModel, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from fdpo.core.errors import UserError
from fdpo.core.files import write_json
from fdpo.core.weights import from_folder, model_from_folder
from fdpo.scoring.quality import FittedSettings, RatedTexts, fit_ridge
from fdpo.scoring.scorer import (
    REMEDY,
    SCORER_FILE,
    Scorer,
    read_settings,
    read_weights,
    write_weights,
)

KIND = "sentence encoder"
HEAD_FILE = "head.safetensors"
HEAD_PENALTY = 1.0  # on movie reviews, 0.1 to 10 give the same Spearman correlation within 0.002
MAX_LENGTH = 256  # tokens, special ones included: what the encoder was trained to read
ROWS_PER_BATCH = 16  # rows of every batch; alone, a text takes four times as long
LENGTH_STEP = 8  # a text is padded to a multiple of this


class EmbeddingSettings(FittedSettings):
    """scorer.json of an embedding judge."""

    kind: Literal["embedding"] = "embedding"
    penalty: float = HEAD_PENALTY


class Encoder:
    """Turns a text into the mean of its tokens' last hidden states, at unit norm.

    This is what all-MiniLM-L6-v2 says of itself in modules.json. The last bits of a product depend
    on the shape of its factors, so every batch has `ROWS_PER_BATCH` rows, the last ones of padding
    if need be, and how far a text is padded depends on its own length alone.
    """

    def __init__(self, folder: str | Path) -> None:
        """Load model and tokenizer. Raises `UserError` if one can't be loaded."""
        folder = Path(folder)
        # A sentence is the mean of its tokens, so the head for the first token goes unused.
        self._model: PreTrainedModel
        self._model = model_from_folder(AutoModel, folder, KIND, REMEDY, unused="pooler.")
        if not (folder / "tokenizer.json").exists():  # without it one without words is made
            raise UserError(f"{folder}: no readable {KIND} (tokenizer.json is missing); {REMEDY}")
        self.width = int(self._model.config.hidden_size)
        self._tokenizer: PreTrainedTokenizerBase = from_folder(AutoTokenizer, folder, KIND, REMEDY)

    def token_ids(self, texts: list[str]) -> list[list[int]]:
        """The encoder's token ids of each text, special tokens included, at any length."""
        return self._tokenizer(texts, verbose=False).input_ids if texts else []

    def embeddings(self, rows: Sequence[Sequence[int]]) -> np.ndarray:
        """The embedding of each text's token ids, cut to `MAX_LENGTH`: [texts, width] float64."""
        # The special one at the end is kept, as the tokenizer would cut.
        rows = [
            ids if len(ids) <= MAX_LENGTH else [*ids[: MAX_LENGTH - 1], ids[-1]] for ids in rows
        ]
        embedded = np.empty((len(rows), self.width))
        by_length: dict[int, list[int]] = defaultdict(list)
        for place, ids in enumerate(rows):
            by_length[-len(ids) // LENGTH_STEP * -LENGTH_STEP].append(place)
        for length, places in by_length.items():
            for start in range(0, len(places), ROWS_PER_BATCH):
                batch = places[start : start + ROWS_PER_BATCH]
                embedded[batch] = self._embed([rows[place] for place in batch], length)
        return embedded

    @torch.inference_mode()
    def _embed(self, batch: Sequence[Sequence[int]], length: int) -> np.ndarray:
        """The embeddings of at most `ROWS_PER_BATCH` texts, each padded to `length` tokens."""
        tokens = torch.full((ROWS_PER_BATCH, length), self._tokenizer.pad_token_id)
        mask = torch.zeros((ROWS_PER_BATCH, length), dtype=torch.long)
        mask[:, 0] = 1  # of nothing at all there is no mean
        for row, ids in enumerate(batch):
            tokens[row, : len(ids)] = torch.tensor(ids)
            mask[row, : len(ids)] = 1
        hidden = self._model(tokens, attention_mask=mask).last_hidden_state
        pooled = (hidden * mask.unsqueeze(-1)).sum(dim=1) / mask.sum(dim=1, keepdim=True)
        return torch.nn.functional.normalize(pooled, dim=-1)[: len(batch)].double().numpy()


@dataclass
class EmbeddingJudge(Scorer):
    """Predicts a text's rating from its embedding: intercept + weights · embedding."""

    encoder: Encoder
    weights: np.ndarray  # [width] float32
    settings: EmbeddingSettings
    texts_cut: int = 0

    def score(self, texts: list[str]) -> np.ndarray:
        """The predicted rating of each text, float64; equal texts get the same number."""
        ids = self.encoder.token_ids(texts)
        self.texts_cut += sum(len(tokens) > MAX_LENGTH for tokens in ids)
        products = (self.encoder.embeddings(ids) * self.weights).sum(axis=1)
        return self.settings.intercept + products

    def token_ids(self, texts: list[str]) -> list[list[int]]:
        """The encoder's token ids of each text, special tokens included, at any length."""
        return self.encoder.token_ids(texts)

    def embeddings(self, texts: list[str]) -> np.ndarray:
        """The embedding of each text: [texts, width] float64, of unit norm."""
        return self.encoder.embeddings(self.encoder.token_ids(texts))

    def save(self, folder: str | Path) -> None:
        """Write scorer.json and the ridge weights beside the encoder's files in `folder`."""
        write_json(Path(folder) / SCORER_FILE, self.settings.model_dump())
        write_weights(Path(folder) / HEAD_FILE, {"weights": self.weights})


def fit_judge(
    folder: str | Path, rated: RatedTexts, check: RatedTexts, seed: int
) -> EmbeddingJudge:
    """Fit to `rated`, embedded by the encoder in `folder`, and measure on `check`."""
    encoder = Encoder(folder)
    design, other = (encoder.embeddings(encoder.token_ids(part.texts)) for part in (rated, check))
    options = {"alpha": HEAD_PENALTY, "solver": "cholesky"}
    weights, facts = fit_ridge(design, other, rated, check, seed, **options)
    return EmbeddingJudge(encoder, weights, EmbeddingSettings(**facts))


def load(folder: str | Path) -> EmbeddingJudge:
    """Load what `save` wrote. Raises `UserError` when a file is missing or damaged."""
    settings = read_settings(folder, EmbeddingSettings)
    encoder = Encoder(folder)
    (weights,) = read_weights(Path(folder) / HEAD_FILE, {"weights": encoder.width})
    return EmbeddingJudge(encoder, weights, settings)
