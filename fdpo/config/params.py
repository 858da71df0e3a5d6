"""params.yaml, read whole and checked before any stage works."""

import re
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import Field, ValidationError, model_validator

from fdpo.config.study import Positive, Share, Study, or_word
from fdpo.config.study_sources import Text
from fdpo.core.errors import UserError
from fdpo.core.validation import Strict, first_problem

Loss = Literal["sigmoid", "hinge", "jsd", "fkl", "alpha"]


class Params(Strict):
    """All of params.yaml. `active` is the study that `study` names."""

    study: str
    seed: Annotated[int, Field(ge=0, lt=2**32)]
    launch: Text
    loss: Loss
    beta: Positive
    alpha: Share
    lr: Annotated[Positive | Literal["auto"], or_word("auto", Positive, "a number above 0")]
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


# PyYAML's own error, and those that a value with the wrong tag raises within it.
_NOT_YAML = (yaml.YAMLError, RecursionError, ValueError, LookupError, TypeError, AttributeError)


def load(path: str | Path = "params.yaml") -> Params:
    """Read and check all of params.yaml.

    Raises `UserError` in one line naming the key, its value and what is allowed.
    """
    try:
        raw = yaml.load(Path(path).read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506 - a SafeLoader
    except FileNotFoundError:
        raise UserError(f"{path}: missing; run from the folder that holds it") from None
    except _NOT_YAML as error:
        raise UserError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(raw, dict):
        raise UserError(f"{path}: must be a map of keys and values; restore it from Git")
    try:
        return Params.model_validate(raw)
    except ValidationError as error:
        raise UserError(f"{path}: {first_problem(error)}") from None
