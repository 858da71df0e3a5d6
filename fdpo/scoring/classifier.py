"""A sequence classifier as scorer: the logit of one class for a whole text."""

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from pathlib import Path
from typing import Any, Literal

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

from fdpo.config.sources import Classifier as Section
from fdpo.core.chat_template import TODAY, Dropped, RenderedChat, Unrendered, dialogue_turns
from fdpo.core.device import device
from fdpo.core.errors import UserError
from fdpo.core.files import write_json
from fdpo.core.validation import Strict
from fdpo.core.weights import from_folder, model_from_folder, require_vocabulary
from fdpo.scoring.scorer import SCORER_FILE, PromptedText, Scorer, read_settings

disable_progress_bar()  # weights load within a second

Encoding = dict[str, list[int]]  # one text as the model's inputs, by name; each is [tokens]

KIND, REBUILD = "classifier", "run `dvc repro` to rebuild it"
OTHERWISE = "set its input to text, or name another model"
BATCH_SIZE = 32  # texts; at 512 tokens a large classifier then needs about 2 GB beside its weights
PROBE = "Its plot made no sense."
TOLERANCE = 1e-3  # of a logit in float32 on any device; what padding does to a score is far above


class ClassifierSettings(Strict):
    """scorer.json of a classifier; the fields are those of its section in the study."""

    kind: Literal["classifier"] = "classifier"
    label: int | str
    too_long: Literal["refuse", "cut"]
    input: Literal["text", "chat"] = "text"
    max_length: int | None = None
    end: Literal["given", "append"] = "given"


@dataclass
class Classifier(Scorer):
    """Scores texts by the logit of class `index`; larger is better.

    A batch holds texts of one length in tokens, so no padding can reach a score.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    index: int
    max_length: int  # tokens, special ones included
    settings: ClassifierSettings
    name: str  # in messages: the folder
    chat: RenderedChat | None = None  # where it reads chats

    def score(self, texts: list[str]) -> np.ndarray:
        """One float64 logit per text, in order; texts of equal token ids get the same number.

        A text longer than `max_length` is cut at its end and counted in `texts_cut`, or raises
        `UserError`, as `too_long` says.
        """
        if self.settings.end == "append":
            end = self.tokenizer.eos_token
            texts = [text.removesuffix(end) + end for text in texts]
        return self._score(self._encode(texts))

    def score_prompted(self, items: Sequence[PromptedText]) -> np.ndarray:
        """As `score`; with `input` chat the items are turns in the model's own chat template."""
        if self.chat is None:
            return super().score_prompted(items)
        texts = [self._rendered(item, self.chat) for item in items]
        # A template has the special tokens that the tokenizer would put about a text.
        return self._score(self._encode(texts, add_special_tokens=False))

    def _rendered(self, item: PromptedText, chat: RenderedChat) -> str:
        turns = [(message.role, message.content) for message in item.messages or ()]
        try:
            turns = turns or dialogue_turns(item.prompt)
            return chat.whole([*turns, ("assistant", item.completion)])
        except Dropped as dropped:  # a sampled text may hold what a template takes for markup
            self.texts_dropped += 1
            return dropped.rendering
        except Unrendered as problem:
            where = f"{self.name}: {problem}, of {item.prompt[:40]!r}"
            raise UserError(f"{where}; {OTHERWISE}") from None

    def _score(self, encodings: Sequence[Encoding]) -> np.ndarray:
        keys = [tuple(encoding["input_ids"]) for encoding in encodings]
        distinct = dict(zip(keys, encodings, strict=True))
        logits: dict[tuple[int, ...], float] = {}
        for _, of_length in groupby(sorted(distinct, key=len), key=len):
            while batch := list(islice(of_length, BATCH_SIZE)):
                values = self.logits([distinct[key] for key in batch])
                logits |= zip(batch, values.tolist(), strict=True)
        return np.array([logits[key] for key in keys], dtype=np.float64)

    def token_ids(self, texts: list[str]) -> list[list[int]]:
        """The model's token ids of each text, special tokens included, at any length."""
        return self.tokenizer(texts, verbose=False).input_ids if texts else []

    def _encode(self, texts: list[str], **options: Any) -> list[Encoding]:
        encodings = _encodings(self.tokenizer, texts, **options)
        for i, encoding in enumerate(encodings):
            length = len(encoding["input_ids"])
            if length == 0:
                raise UserError(f"{self.name}: the text {texts[i]!r} has no tokens to score")
            if length > self.max_length and self.settings.too_long == "refuse":
                raise UserError(
                    f"{self.name}: the text {texts[i][:40]!r}… has {length} tokens and the model"
                    f" reads {self.max_length}; lower generate.max_length, or set too_long to cut"
                )
            if length > self.max_length:
                self.texts_cut += 1
                cut = {"truncation": True, "max_length": self.max_length, **options}
                (encodings[i],) = _encodings(self.tokenizer, [texts[i]], **cut)
                if self.settings.end == "append":
                    encodings[i]["input_ids"][-1] = self.tokenizer.eos_token_id
        return encodings

    @torch.inference_mode()
    def logits(self, encodings: Sequence[Encoding]) -> Tensor:
        """The logit of class `index` of texts of one length, [texts] float64."""
        output = self.model(**_inputs(self.model, encodings))
        return output.logits[:, self.index].double().cpu()


def load(folder: str | Path) -> Classifier:
    """Load the classifier in `folder`, on the GPU where there is one.

    Raises `UserError` where a file is missing or damaged, the model has no such class, or it gives
    a text another score among others than alone.
    """
    folder = Path(folder)
    settings = read_settings(folder, ClassifierSettings)
    model = model_from_folder(AutoModelForSequenceClassification, folder, KIND, REBUILD)
    tokenizer = from_folder(AutoTokenizer, folder, KIND, REBUILD)
    require_vocabulary(tokenizer, model.get_input_embeddings().num_embeddings, folder)
    tokenizer.truncation_side = "right"
    if model.config.pad_token_id is None:
        # A decoder with a head reads the last token that is no padding, and refuses batches without
        # a padding token. No id is -1, so this says that there is none.
        model.config.get_text_config().pad_token_id = -1
    model.to(device())
    chat = _chat_of(tokenizer, folder) if settings.input == "chat" else None
    length = min(tokenizer.model_max_length, _positions(model, tokenizer))
    length = min(length, settings.max_length or length)
    index = label_index(model.config, settings.label, folder)
    classifier = Classifier(model, tokenizer, index, length, settings, str(folder), chat)
    require_steady(classifier)
    return classifier


def write(folder: str | Path, section: Section) -> list[str]:
    """Write scorer.json beside a fetched classifier, if it has the class and can read the input.

    Returns: what was done that a user may not expect, a line each.
    """
    folder = Path(folder)
    tokenizer = from_folder(AutoTokenizer, folder, KIND, REBUILD)
    index = label_index(from_folder(AutoConfig, folder, KIND, REBUILD), section.label, folder)
    fields = section.model_dump(include=set(ClassifierSettings.model_fields))
    fields |= {"label": index if section.label is None else section.label, "end": "given"}
    notes = []
    plain = tokenizer(PROBE, add_special_tokens=False).input_ids
    ends_texts = tokenizer(PROBE).input_ids[-1] != plain[-1]  # as those of encoders do
    if section.input == "chat":
        chat = _chat_of(tokenizer, folder)
        if chat.adds_thought():
            notes.append("its chat template puts a thought before answers, <think></think> if none")
        if chat.dated:
            notes.append(f"its chat template shows the date; it reads chats as of {TODAY:%Y-%m-%d}")
    elif section.end == "append" and tokenizer.eos_token and not ends_texts:
        fields["end"] = "append"
        notes.append(f"{tokenizer.eos_token!r} ends its texts, as in TRL; without: end: given")
    settings = ClassifierSettings(**fields).model_dump(exclude_defaults=True)
    write_json(folder / SCORER_FILE, {"kind": KIND, **settings})
    return notes


def _chat_of(tokenizer: PreTrainedTokenizerBase, folder: Path) -> RenderedChat:
    """The tokenizer's chat template. Raises `UserError` where it has none that shows a chat."""
    try:
        if not tokenizer.chat_template:
            raise Unrendered("input = 'chat', but its tokenizer has no chat template")
        chat = RenderedChat(tokenizer)
        chat.whole([("user", PROBE), ("assistant", PROBE)])
    except Unrendered as problem:
        raise UserError(f"{folder}: {problem}; {OTHERWISE}") from None
    return chat


def label_index(config: PretrainedConfig, label: str | int | None, folder: Path) -> int:
    """The index of the class with the name or index `label`; a single class needs none."""
    classes: dict[int, str] = {int(key): name for key, name in (config.id2label or {}).items()}
    if label is None and len(classes) == 1:
        return next(iter(classes))
    by_number = isinstance(label, int) and not isinstance(label, bool)
    found = [index for index, name in classes.items() if label == (index if by_number else name)]
    if len(found) == 1:
        return found[0]
    choices = ", ".join(f"{name} ({index})" for index, name in sorted(classes.items()))
    problem = f"classes {found} have that name" if found else "no such class"
    raise UserError(f"{folder}: label = {label!r}: {problem}; choose one of {choices}")


def _encodings(
    tokenizer: PreTrainedTokenizerBase, texts: list[str], **options: Any
) -> list[Encoding]:
    columns = tokenizer(texts, padding=False, verbose=False, **options) if texts else {}
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _inputs(model: PreTrainedModel, encodings: Sequence[Encoding]) -> dict[str, Tensor]:
    accepted = inspect.signature(model.forward).parameters  # some take no token types
    return {
        name: torch.tensor([encoding[name] for encoding in encodings], device=model.device)
        for name in encodings[0]
        if name in accepted
    }


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
    """Raise `UserError` when two texts of one length score otherwise together than each alone."""
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
