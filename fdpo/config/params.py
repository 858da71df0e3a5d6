"""params.yaml, read whole and checked before any stage works."""

from collections.abc import Collection, Iterator
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from fdpo.config.study import Positive, Share, Study, or_word
from fdpo.config.yaml_files import read_yaml
from fdpo.core.errors import UserError
from fdpo.core.validation import Strict, Text, among, problems

# DVC reads a dot in a name as a step into a section.
StudyName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]+$")]

PLACEHOLDER = "TODO"  # in a section that `make new-study` wrote


class Params(Strict):
    """All of params.yaml. `active` is the study that `study` names.

    The names of the losses come from the validation context (see `check`): a stage that does not
    use the losses must not depend on the file that defines them.
    """

    study: str
    seed: Annotated[int, Field(ge=0, lt=2**32)]
    launch: Text
    loss: str
    beta: Positive
    alpha: Share
    lr: Annotated[Positive | Literal["auto"], or_word("auto", Positive, "a number above 0")]
    studies: Annotated[dict[StudyName, Study], Field(min_length=1)]

    @field_validator("loss", mode="before")
    @classmethod
    def _loss_exists(cls, loss: Any, info: ValidationInfo) -> Any:
        if not isinstance(loss, str) or loss not in _losses(info):
            raise ValueError(among(_losses(info)))
        return loss

    @model_validator(mode="after")
    def _rates_are_of_losses(self, info: ValidationInfo):
        for name, study in self.studies.items():
            for loss in study.train.lr_by_loss:
                if loss not in ("default", *_losses(info)):
                    raise ValueError(
                        f"studies.{name}.train.lr_by_loss.{loss}: no such loss;"
                        f" {among(('default', *_losses(info)))}"
                    )
        return self

    @model_validator(mode="after")
    def _study_exists(self):
        if self.study not in self.studies:
            known = ", ".join(sorted(self.studies))
            raise ValueError(f"study = {self.study!r}: no such study; choose one of {known}")
        return self

    @model_validator(mode="after")
    def _active_study_is_filled_in(self):
        if unfilled := list(placeholders(self.active.model_dump())):
            raise ValueError(
                f"studies.{self.study}: {PLACEHOLDER} stands where a value of yours is needed; fill"
                f" in {', '.join(unfilled)}"
            )
        return self

    @property
    def active(self) -> Study:
        """The study that this run is of."""
        return self.studies[self.study]

    @property
    def trained_with(self) -> dict[str, Any]:
        """What a policy is trained with, as objective.json beside its weights says it.

        Of the section `train` it is what params.yaml holds, without the defaults of absent keys.
        """
        knobs = self.model_dump(include={"study", "loss", "beta", "alpha", "seed"})
        section = self.active.train.model_dump(exclude={"lr_by_loss"}, exclude_unset=True)
        return {**knobs, "lr": self.effective_lr, **section}

    @property
    def effective_lr(self) -> float:
        """`lr`, or where it is `auto` the study's own learning rate for this loss."""
        return self.active.train.lr_of(self.loss) if self.lr == "auto" else self.lr


def placeholders(section: Any, key: str = "") -> Iterator[str]:
    """The dotted keys of a study's section whose values its user has yet to fill in.

    Such a value is the placeholder, or a path whose file's name is.
    """
    if isinstance(section, dict):
        for name, value in section.items():
            yield from placeholders(value, f"{key}.{name}" if key else str(name))
    elif isinstance(section, str) and PurePosixPath(section).name.split(".")[0] == PLACEHOLDER:
        yield key


def _losses(info: ValidationInfo) -> Collection[str]:
    """The names of the losses, from the context."""
    return info.context["losses"]  # type: ignore[index]


def check(values: Any, losses: Collection[str]) -> Params:
    """`values`, laid out as in params.yaml, as checked `Params`; `losses` are the known names.

    Raises `UserError` with one line per problem: the key, its value and what is allowed.
    """
    try:
        return Params.model_validate(values, context={"losses": losses})
    except ValidationError as error:
        raise UserError(*problems(error, values)) from None


def load(path: str | Path, losses: Collection[str]) -> Params:
    """Read and check all of params.yaml.

    Raises `UserError` with one line per problem, which names the file, key, value and what is
    allowed.
    """
    values = read_yaml(path)
    try:
        return check(values, losses)
    except UserError as error:
        raise UserError(*(f"{path}: {line}" for line in error.lines)) from None
