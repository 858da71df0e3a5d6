"""A sequence classifier as scorer: the logit of one class for a whole text."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils.logging import disable_progress_bar

from fdpo.core.device import device
from fdpo.core.errors import UserError
from fdpo.core.files import read_json, write_json
from fdpo.core.weights import (
    require_all,
    require_finite,
    require_safetensors,
    require_vocabulary,
    short_message,
)
from fdpo.scoring.scorer import SCORER_FILE

disable_progress_bar()  # weights load within a second

_REBUILD = "run `dvc repro` to rebuild it"
BATCH_SIZE = 32  # texts; at 512 tokens a large classifier then needs about 2 GB beside its weights


@dataclass(frozen=True)
class Classifier:
    """Scores texts by the logit of class `index`; larger is better."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    index: int
    max_length: int  # tokens, special ones included

    @torch.inference_mode()
    def score(self, texts: list[str]) -> np.ndarray:
        """One float64 logit a text, in order; a text longer than the model reads is cut at its end.

        Texts of like length share a batch, so little is spent on padding.
        """
        scores = np.empty(len(texts))
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        for start in range(0, len(order), BATCH_SIZE):
            rows = order[start : start + BATCH_SIZE]
            batch = self.tokenizer(
                [texts[i] for i in rows],
                truncation=True,
                max_length=self.max_length,
                padding=True,
                return_tensors="pt",
            )
            batch = batch.to(self.model.device)
            # By name: some tokenizers add token types, which not every model takes.
            output = self.model(input_ids=batch.input_ids, attention_mask=batch.attention_mask)
            scores[rows] = output.logits[:, self.index].double().cpu().numpy()
        return scores

    def token_ids(self, texts: list[str]) -> list[list[int]]:
        """The model's token ids of each text, special tokens included, whatever the length."""
        return self.tokenizer(texts, verbose=False).input_ids if texts else []


def load(folder: str | Path) -> Classifier:
    """Load the classifier in `folder`, on the GPU where there is one.

    `folder` holds scorer.json {"kind": "classifier", "label": name or index of the class}, config,
    tokenizer and safetensors. Raises `UserError` when one is missing or damaged, or when the model
    has no such class.
    """
    folder = Path(folder)
    settings = read_json(folder / SCORER_FILE)
    require_safetensors(folder, "model.safetensors", _REBUILD)
    config = _from_folder(AutoConfig, folder)
    index = label_index(config, settings.get("label"), folder)
    model, loading = _from_folder(
        AutoModelForSequenceClassification,
        folder,
        use_safetensors=True,
        dtype=torch.float32,
        output_loading_info=True,
    )
    require_all(loading["missing_keys"], folder, "name a model that has that head")
    require_finite(model, folder, _REBUILD)
    tokenizer = _from_folder(AutoTokenizer, folder)
    require_vocabulary(tokenizer, config.vocab_size, folder)
    length = min(tokenizer.model_max_length, _positions(config))
    return Classifier(model.eval().to(device()), tokenizer, index, length)


def write_settings(folder: str | Path, label: str | int) -> None:
    """Write scorer.json beside a fetched classifier, if its config lists the class."""
    folder = Path(folder)
    label_index(_from_folder(AutoConfig, folder), label, folder)
    write_json(folder / SCORER_FILE, {"kind": "classifier", "label": label})


def label_index(config: PretrainedConfig, label: str | int | None, folder: Path) -> int:
    """The index of the class named `label`, or `label` itself where it is an index."""
    classes: dict[int, str] = {int(key): name for key, name in (config.id2label or {}).items()}
    for index, name in classes.items():
        if label == name or (label == index and not isinstance(label, bool)):
            return index
    choices = ", ".join(f"{name} ({index})" for index, name in sorted(classes.items()))
    raise UserError(f"{folder}: label = {label!r}: no such class; choose one of {choices}")


def _positions(config: PretrainedConfig) -> int:
    """How many tokens the model has positions for; RoBERTa's begin after its padding index."""
    taken = config.pad_token_id + 1 if "roberta" in config.model_type else 0
    return config.max_position_embeddings - taken


def _from_folder(auto_class: Any, folder: Path, **options: Any) -> Any:
    """`auto_class.from_pretrained` without the network or the folder's code.

    Raises `UserError` whatever goes wrong: what a damaged file leads to is not documented.
    """
    try:
        return auto_class.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False, **options
        )
    except Exception as error:
        raise UserError(
            f"{folder}: can't be loaded as a classifier ({short_message(error)}); {_REBUILD}"
        ) from None
