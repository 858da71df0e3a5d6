"""A sequence classifier as scorer: the logit of one class for a whole text."""

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn
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
from fdpo.core.records import ChatMessage
from fdpo.core.weights import (
    require_exact,
    require_finite,
    require_safetensors,
    require_vocabulary,
    short_message,
    unreadable,
)
from fdpo.scoring.scorer import SCORER_FILE, PromptedText

disable_progress_bar()  # weights load within a second

TooLong = Literal["refuse", "cut"]
Reading = Literal["text", "chat"]
Encoding = dict[str, list[int]]  # one text as the model's inputs, by name; each is [tokens]

_REBUILD = "run `dvc repro` to rebuild it"
BATCH_SIZE = 32  # texts; at 512 tokens a large classifier then needs about 2 GB beside its weights
PROBE = "Its plot made no sense."
TOLERANCE = 1e-3  # of a logit in float32 on any device; what padding does to a score is far above


@dataclass
class Classifier:
    """Scores texts by the logit of class `index`; larger is better.

    A batch holds texts of one length in tokens, so nothing is ever padded: neither the side nor the
    kind of padding, nor what a model makes of it, can reach a score.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    index: int
    max_length: int  # tokens, special ones included
    too_long: TooLong
    name: str  # in messages: the folder
    reading: Reading = "text"
    texts_cut: int = 0

    def score(self, texts: list[str]) -> np.ndarray:
        """One float64 logit per text, in order; texts of equal token ids get the same number.

        A text longer than `max_length` is cut at its end and counted in `texts_cut`, or raises
        `UserError`, as `too_long` says.
        """
        return self._score(self._encode(texts))

    def score_prompted(self, items: Sequence[PromptedText]) -> np.ndarray:
        """As `score`; with `reading` chat the items are turns in the model's own chat template."""
        if self.reading == "text":
            return self.score([item.text for item in items])
        texts = [self._rendered(item) for item in items]
        # A template has the special tokens that the tokenizer would put about a text.
        return self._score(self._encode(texts, add_special_tokens=False))

    def _rendered(self, item: PromptedText) -> str:
        turns = item.messages or (ChatMessage(role="user", content=item.prompt),)
        answer = ChatMessage(role="assistant", content=item.completion)
        try:
            return str(
                self.tokenizer.apply_chat_template(
                    [turn.model_dump() for turn in (*turns, answer)], tokenize=False
                )
            )
        except Exception as error:  # a template may raise what it likes
            raise UserError(
                f"{self.name}: its chat template refuses {item.prompt[:40]!r}…"
                f" ({short_message(error)}); set its input to text, or name another model"
            ) from None

    def _score(self, encodings: Sequence[Encoding]) -> np.ndarray:
        keys = [tuple(encoding["input_ids"]) for encoding in encodings]
        distinct = dict(zip(keys, encodings, strict=True))
        logits: dict[tuple[int, ...], float] = {}
        for batch in _batches_of_one_length(list(distinct)):
            values = self.logits([distinct[key] for key in batch])
            logits |= zip(batch, values.tolist(), strict=True)
        return np.array([logits[key] for key in keys], dtype=np.float64)

    def token_ids(self, texts: list[str]) -> list[list[int]]:
        """The model's token ids of each text, special tokens included, whatever the length."""
        return self.tokenizer(texts, verbose=False).input_ids if texts else []

    def _encode(self, texts: list[str], **options: Any) -> list[Encoding]:
        encodings = _encodings(self.tokenizer, texts, **options)
        for i, encoding in enumerate(encodings):
            length = len(encoding["input_ids"])
            if length == 0:
                raise UserError(f"{self.name}: the text {texts[i]!r} has no tokens to score")
            if length <= self.max_length:
                continue
            if self.too_long == "refuse":
                raise UserError(
                    f"{self.name}: the text {texts[i][:40]!r}… has {length} tokens and the model"
                    f" reads {self.max_length}; lower generate.max_length, or set too_long to cut"
                )
            self.texts_cut += 1
            (encodings[i],) = _encodings(
                self.tokenizer, [texts[i]], truncation=True, max_length=self.max_length, **options
            )
        return encodings

    @torch.inference_mode()
    def logits(self, encodings: Sequence[Encoding]) -> Tensor:
        """The logit of class `index` of texts of one length, [texts] float64."""
        output = self.model(**_inputs(self.model, encodings))
        return output.logits[:, self.index].double().cpu()


def load(folder: str | Path) -> Classifier:
    """Load the classifier in `folder`, on the GPU where there is one.

    Args:
        folder: holds scorer.json as `write_settings` writes it, config, tokenizer and safetensors.

    Raises:
        UserError: a file is missing or damaged, the model has no such class, or it gives a text
            another score among others than alone.
    """
    folder = Path(folder)
    settings = read_json(folder / SCORER_FILE)
    require_safetensors(folder, "model.safetensors", _REBUILD)
    config = _from_folder(AutoConfig, folder)
    index = label_index(config, settings.get("label"), folder)
    too_long = settings.get("too_long")
    if too_long not in get_args(TooLong):
        raise UserError(
            f"{folder / SCORER_FILE}: too_long = {too_long!r}: must be refuse or cut; {_REBUILD}"
        )
    model, loading = _from_folder(
        AutoModelForSequenceClassification,
        folder,
        use_safetensors=True,
        dtype=torch.float32,
        output_loading_info=True,
        ignore_mismatched_sizes=True,  # they are refused next, by name
    )
    require_exact(loading, folder, "correct it, or name another model")
    require_finite(model, folder, _REBUILD)
    tokenizer = _from_folder(AutoTokenizer, folder)
    require_vocabulary(tokenizer, model.get_input_embeddings().num_embeddings, folder)
    tokenizer.truncation_side = "right"
    if model.config.pad_token_id is None:
        # A decoder with a head reads the last token that is no padding, and refuses batches without
        # a padding token. No id is -1, so this says that there is none.
        model.config.get_text_config().pad_token_id = -1
    model.eval().to(device())
    reading = settings.get("input", "text")
    if reading == "chat":
        _require_template(tokenizer, folder)
    length = min(tokenizer.model_max_length, _positions(model, tokenizer))
    length = min(length, settings.get("max_length", length))
    classifier = Classifier(model, tokenizer, index, length, too_long, str(folder), reading)
    require_steady(classifier)
    return classifier


def write_settings(
    folder: str | Path,
    label: str | int | None,
    too_long: TooLong,
    reading: Reading = "text",
    max_length: int | None = None,
) -> None:
    """Write scorer.json beside a fetched classifier, if it has the class and can read the input.

    Args:
        folder: of the classifier.
        label: name or index of the class whose logit is the score; None where there is one alone.
        too_long: whether a text longer than the model reads is refused, or cut at its end.
        reading: whether it reads plain text or turns in its own chat template.
        max_length: the most tokens that it reads, where they are fewer than it could.
    """
    folder = Path(folder)
    index = label_index(_from_folder(AutoConfig, folder), label, folder)
    settings: dict[str, Any] = {
        "kind": "classifier",
        "label": index if label is None else label,
        "too_long": too_long,
    }
    if reading == "chat":
        _require_template(_from_folder(AutoTokenizer, folder), folder)
        settings["input"] = reading
    if max_length is not None:
        settings["max_length"] = max_length
    write_json(folder / SCORER_FILE, settings)


def _require_template(tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    if not tokenizer.chat_template:
        raise UserError(
            f"{folder}: input = 'chat', but its tokenizer has no chat template; set it to text, or"
            " name another model"
        )


def label_index(config: PretrainedConfig, label: str | int | None, folder: Path) -> int:
    """The index of the class named `label`, or `label` itself where it is an index.

    Where there is one class alone it needs no label.
    """
    classes: dict[int, str] = {int(key): name for key, name in (config.id2label or {}).items()}
    if label is None and len(classes) == 1:
        return next(iter(classes))
    if isinstance(label, int) and not isinstance(label, bool) and label in classes:
        return label
    named = [index for index, name in classes.items() if name == label]
    if len(named) > 1:
        raise UserError(
            f"{folder}: label = {label!r}: classes {named} have that name; choose one by its index"
        )
    if named:
        return named[0]
    choices = ", ".join(f"{name} ({index})" for index, name in sorted(classes.items()))
    raise UserError(f"{folder}: label = {label!r}: no such class; choose one of {choices}")


def _encodings(
    tokenizer: PreTrainedTokenizerBase, texts: list[str], **options: Any
) -> list[Encoding]:
    """Each text as the model's inputs, as the tokenizer alone says, unpadded."""
    if not texts:
        return []
    columns = tokenizer(texts, padding=False, verbose=False, **options)
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _inputs(model: PreTrainedModel, encodings: Sequence[Encoding]) -> dict[str, Tensor]:
    """A batch of texts of one length, without what the tokenizer makes and no such model takes."""
    accepted = inspect.signature(model.forward).parameters
    return {
        name: torch.tensor([encoding[name] for encoding in encodings], device=model.device)
        for name in encodings[0]
        if name in accepted
    }


def _batches_of_one_length(keys: list[tuple[int, ...]]) -> Iterator[list[tuple[int, ...]]]:
    for _, same_length in groupby(sorted(keys, key=len), key=len):
        group = list(same_length)
        for start in range(0, len(group), BATCH_SIZE):
            yield group[start : start + BATCH_SIZE]


def _positions(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> int:
    """How many tokens the model has positions for.

    Where positions are rows of a table, the first row that a text uses is seen, not assumed: in
    RoBERTa and its kin it is the one after the padding's.
    """
    limits = [getattr(model.config.get_text_config(), "max_position_embeddings", None)]

    def see(module: nn.Embedding, inputs: tuple[Any, ...]) -> None:
        if inputs and torch.is_tensor(inputs[0]) and not inputs[0].is_floating_point():
            limits.append(module.weight.shape[0] - int(inputs[0].min()))

    hooks = [
        module.register_forward_pre_hook(see)
        for name, module in model.named_modules()
        if isinstance(module, nn.Embedding) and ("position" in name or name.endswith("wpe"))
    ]
    with torch.inference_mode():
        model(**_inputs(model, _encodings(tokenizer, [PROBE])))
    for hook in hooks:
        hook.remove()
    return min(limit for limit in (*limits, 10**9) if limit is not None and limit > 0)


def require_steady(classifier: Classifier) -> None:
    """Raise `UserError` when two texts score otherwise together than each alone.

    They are as long as each other, since only such texts share a batch.
    """
    (text,) = _encodings(classifier.tokenizer, [PROBE])
    order = np.arange(len(text["input_ids"]))
    order[1:-1] = order[1:-1][::-1]
    texts = [text, {name: [values[i] for i in order] for name, values in text.items()}]
    together = classifier.logits(texts)
    alone = torch.cat([classifier.logits([text]) for text in texts])
    difference = (together - alone).abs().max().item()
    if not difference <= TOLERANCE * max(1.0, alone.abs().max().item()):
        raise UserError(
            f"{classifier.name}: a text's score alone and beside another differ by"
            f" {difference:.3g}, so no score would mean anything; name another model"
        )


def _from_folder(auto_class: Any, folder: Path, **options: Any) -> Any:
    """`auto_class.from_pretrained` without the network or the folder's code.

    Raises `UserError` whatever goes wrong: what a damaged file leads to is not documented.
    """
    try:
        return auto_class.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False, **options
        )
    except Exception as error:
        raise unreadable(folder, "classifier", error, _REBUILD) from None
