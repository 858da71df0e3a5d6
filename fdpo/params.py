"""params.yaml, read whole and checked before any stage works."""

import re
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import AfterValidator, Field, ValidationError, model_validator

from fdpo.errors import UserError
from fdpo.validation import Strict, first_problem

Loss = Literal["sigmoid", "hinge", "jsd", "fkl", "alpha"]
Count = Annotated[int, Field(ge=1, le=10_000_000)]
Positive = Annotated[float, Field(gt=0, le=1e6)]
Share = Annotated[float, Field(gt=0, lt=1)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Package(Strict):
    """A file of the Python Package Index, pinned by version and content."""

    name: str
    version: str
    sha256: Sha256


class PackagesSource(Strict):
    """Model and text from Python packages."""

    source: Literal["packages"]
    model: Package
    gguf: str
    snippets: Package
    template: str
    words: Count
    train_prompts: Count
    heldout_prompts: Annotated[int, Field(ge=2)]

    @model_validator(mode="after")
    def _template_ends_in_words(self):
        if not self.template.endswith("{words}") or self.template.count("{") != 1:
            raise ValueError(
                f"template must end in {{words}}, its only field, not {self.template!r}"
            )
        return self


class Sampling(Strict):
    """Ancestral sampling, plain when temperature is 1 and nothing is cut off."""

    strategy: Literal["sample"]
    completions: Annotated[int, Field(ge=2)]
    max_new_tokens: Count
    temperature: Positive
    top_k: Annotated[int, Field(ge=0)]
    top_p: Annotated[float, Field(gt=0, le=1)]


class Heldout(Strict):
    """Plain temperature-1 samples of held-out prompts, of the reference and of every policy."""

    samples: Annotated[int, Field(ge=2)]
    max_new_tokens: Count


class Generate(Strict):
    train: Sampling
    heldout: Heldout
    prompts_per_batch: Count


class Score(Strict):
    batch_size: Count


def _ranks_differ(ranks: list[list[int]]) -> list[list[int]]:
    for pair in ranks:
        if pair[0] >= pair[1]:
            raise ValueError(f"ranks {pair} must be [better, worse] with better < worse")
    return ranks


class PairParams(Strict):
    ranks: Annotated[
        list[Annotated[list[Count], Field(min_length=2, max_length=2)]],
        Field(min_length=1),
        AfterValidator(_ranks_differ),
    ]


class Split(Strict):
    test_size: Share


class Lora(Strict):
    r: Count
    alpha: Count
    target_modules: Annotated[list[str], Field(min_length=1)]


class LrByLoss(Strict):
    sigmoid: Positive
    hinge: Positive
    jsd: Positive
    fkl: Positive
    alpha: Positive


class Train(Strict):
    epochs: Count
    pairs_per_step: Count
    group_by_prompt: bool
    tokens_per_forward: Count
    warmup_steps: Annotated[int, Field(ge=0)]
    max_grad_norm: Positive
    lr_by_loss: LrByLoss
    lora: Lora
    gradient_checkpointing: bool
    log_every: Count


class Evaluate(Strict):
    prompts_per_batch: Count
    tokens_per_forward: Count
    distinct_budget: Count


class Study(Strict):
    """The settings of one study, a section a stage."""

    prepare: PackagesSource
    generate: Generate
    score: Score
    pair: PairParams
    split: Split
    train: Train
    evaluate: Evaluate

    @model_validator(mode="after")
    def _ranks_exist(self):
        completions = self.generate.train.completions
        for pair in self.pair.ranks:
            if pair[1] > completions:
                raise ValueError(
                    f"pair.ranks has {pair}, but generate.train.completions = {completions}; "
                    f"ranks go from 1 to {completions}"
                )
        return self


class Params(Strict):
    """All of params.yaml. `active` is the study that `study` names."""

    study: str
    seed: Annotated[int, Field(ge=0, lt=2**32)]
    loss: Loss
    beta: Positive
    alpha: Share
    lr: Positive | Literal["auto"]
    studies: Annotated[dict[str, Study], Field(min_length=1)]

    @model_validator(mode="after")
    def _study_exists(self):
        if self.study not in self.studies:
            known = ", ".join(sorted(self.studies))
            raise ValueError(f"study = {self.study!r}: no such study; choose one of {known}")
        return self

    @property
    def active(self) -> Study:
        return self.studies[self.study]

    @property
    def effective_lr(self) -> float:
        """`lr`, or where it is `auto` the study's own learning rate for this loss."""
        return getattr(self.active.train.lr_by_loss, self.loss) if self.lr == "auto" else self.lr


class _Loader(yaml.SafeLoader):
    """YAML with numbers as DVC writes them and duplicate keys refused."""

    def construct_mapping(self, node, deep=False):
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(
                    None, None, f"key {key!r} stands twice", node.start_mark
                )
        return super().construct_mapping(node, deep)


# `dvc exp run -S lr=1e-5` writes 1e-05, a number in YAML 1.2 but a string to PyYAML.
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"),
    "-+0123456789",
)


def load(path: str | Path = "params.yaml") -> Params:
    """Read and check all of params.yaml.

    Raises `UserError` in one line naming the key, its value and what is allowed.
    """
    try:
        raw = yaml.load(Path(path).read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506 - a SafeLoader
    except FileNotFoundError:
        raise UserError(f"{path}: missing; run from the folder that holds it") from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise UserError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    try:
        return Params.model_validate(raw)
    except ValidationError as error:
        raise UserError(f"{path}: {first_problem(error)}") from None
