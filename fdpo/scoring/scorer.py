"""What a scorer is, what it reads, and the files in its folder."""

import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self, TypeVar, runtime_checkable

import numpy as np
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from tqdm import tqdm

from fdpo.core.errors import UserError
from fdpo.core.files import read_json, replacing, write_json
from fdpo.core.records import ChatMessage, Generation
from fdpo.core.validation import Strict, problems

SCORER_FILE = "scorer.json"  # in each scorer's folder; its `kind` says how to read the rest
NO_SCORER = {"kind": "none"}  # scorer.json where a study has no judge
REMEDY = "rebuild it with `dvc repro --force prepare`"  # of a scorer's folder
LARGEST = 1e100  # of a score's size: sums of squares stay finite

Settings = TypeVar("Settings", bound=Strict)


@dataclass(frozen=True)
class PromptedText:
    """A completion and its prompt as a scorer reads them, without the reference's chat template."""

    prompt: str
    completion: str
    messages: tuple[ChatMessage, ...] | None = None  # of a chat, `prompt` as its turns

    @classmethod
    def of(cls, generation: Generation, completion: str) -> Self:
        """A completion of a recorded prompt."""
        messages = generation.messages
        if messages is None:
            return cls(generation.prompt, completion)
        said = [f"{m.role}: {m.content}" for m in messages]
        prompt = messages[0].content if len(messages) == 1 else "\n\n".join(said)
        return cls(prompt, completion, tuple(messages))

    @property
    def text(self) -> str:
        """Both as one text; what a chat's turns say are paragraphs of it."""
        return self.prompt + ("" if self.messages is None else "\n\n") + self.completion


class Scorer(ABC):
    """A reward model or a judge: says how good texts are, on a scale of its own; more is better."""

    additive = False  # whether a score is a weighted sum over a text's parts, such as n-grams
    texts_cut = 0  # so far: they were longer than the scorer reads, and were cut at their end
    texts_dropped = 0  # so far: its chat template did not show them whole

    @abstractmethod
    def score(self, texts: list[str]) -> np.ndarray:
        """One float64 per text, in the order of `texts`."""

    def score_prompted(self, items: Sequence[PromptedText]) -> np.ndarray:
        """One float64 for each item, in order; a scorer may tell prompts from completions."""
        return self.score([item.text for item in items])


def scores_of(scorer: Scorer, items: Sequence[PromptedText]) -> np.ndarray:
    """The scores of completions, in order: [items] float64.

    Raises `UserError` for one that is not finite, or so large that means or variances would not be.
    """
    scores = scorer.score_prompted(items)
    for item, score in zip(items, scores, strict=True):
        if not abs(score) <= LARGEST:
            raise UserError(
                f"the completion {item.completion[:40]!r} scores {score:g}: must be a finite number"
                f" of at most {LARGEST:g} in size; correct the reward or judge, or name another"
            )
    return scores


@runtime_checkable
class TokenizingScorer(Protocol):
    """A scorer that reads texts as tokens of its own, such as a classifier."""

    def token_ids(self, texts: list[str]) -> list[list[int]]:
        """The scorer's token ids of each text, special tokens included, at any length."""
        ...


@runtime_checkable
class EmbeddingScorer(Protocol):
    """A scorer that reads texts as vectors, such as the sentence encoder's."""

    def embeddings(self, texts: list[str]) -> np.ndarray:
        """The embedding of each text: [texts, width] float64, of unit norm."""
        ...


def write_no_scorer(folder: Path) -> None:
    """Make `folder` say that the study has no such scorer."""
    with replacing(folder) as scratch:
        scratch.mkdir()
        write_json(scratch / SCORER_FILE, NO_SCORER)


def read_settings(folder: str | Path, kind: type[Settings]) -> Settings:
    """The settings in a scorer's folder. Raises `UserError` where they are not of that kind."""
    path = Path(folder) / SCORER_FILE
    try:
        return kind.model_validate(read_json(path), strict=False)
    except ValidationError as error:
        raise UserError(f"{path}: {problems(error)[0]}; {REMEDY}") from None


def write_weights(path: Path, weights: dict[str, np.ndarray]) -> None:
    """Write arrays as safetensors; equal ones give equal bytes."""
    with replacing(path) as scratch:
        save_file(weights, scratch)


def read_weights(path: Path, sizes: Mapping[str, int]) -> list[np.ndarray]:
    """The vectors of these names and sizes. Raises `UserError` where one is not, or not finite."""
    try:
        weights = load_file(path)
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path}: {error}; {REMEDY}") from None
    for name, size in sizes.items():
        vector = weights.get(name, np.empty(0))
        if vector.shape != (size,) or not np.isfinite(vector).all():
            raise UserError(f"{path}: {name} must be {size} finite numbers; {REMEDY}")
    return [weights[name] for name in sizes]


def report_cut_texts(scorer: Scorer | None, folder: Path) -> None:
    """Say on stderr how many texts the scorer in `folder` did not read to their end, if any."""
    if scorer is not None and scorer.texts_cut:
        cut = f"{scorer.texts_cut} texts were longer than the model reads, and were cut"
        tqdm.write(f"{folder}: {cut} at their end", file=sys.stderr)
    if scorer is not None and scorer.texts_dropped:
        dropped = f"of {scorer.texts_dropped} chats the model's template leaves out a part"
        tqdm.write(f"{folder}: {dropped}", file=sys.stderr)
