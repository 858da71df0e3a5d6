"""params.yaml and the active study's file, read whole and checked before any stage works."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationError

from fdpo.config.study import Positive, Share, Study
from fdpo.config.yaml_files import read_yaml
from fdpo.core.errors import UserError
from fdpo.core.validation import Strict, Text, problems
from fdpo.losses import LOSSES, Objective

PARAMS_FILE = Path("params.yaml")
STUDIES = Path("studies")


def _known(loss: str) -> str:
    if loss not in LOSSES:
        raise ValueError(f"must be one of {', '.join(LOSSES)}")
    return loss


class Params(Strict):
    """The knobs of the comparison, and `active`, the settings of the study that `study` names."""

    study: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")]  # it becomes the name of a file
    seed: Annotated[int, Field(ge=0, lt=2**32)]
    launch: Text
    loss: Annotated[str, AfterValidator(_known)]
    beta: Positive
    alpha: Share
    lr: Positive | Literal["auto"]
    active: Study

    @property
    def trained_with(self) -> dict[str, Any]:
        """What objective.json says of a policy; of `train`, the keys that the study's file has."""
        knobs = self.model_dump(include={"study", "loss", "beta", "alpha", "seed"})
        section = self.active.train.model_dump(exclude={"lr_by_loss"}, exclude_unset=True)
        return {**knobs, "lr": self.effective_lr, **section}

    @property
    def objective(self) -> Objective:
        """What the policy is trained for."""
        train = self.active.train
        return Objective(
            self.loss,
            self.beta,
            self.alpha,
            normalize=train.normalize,
            label_smoothing=train.label_smoothing,
            label_noise=train.label_noise,
            chosen_nll=train.chosen_nll,
        )

    @property
    def effective_lr(self) -> float:
        """`lr`, or where it is `auto` the study's own learning rate for this loss."""
        return self.active.train.lr_of(self.loss) if self.lr == "auto" else self.lr


def study_file(name: str) -> Path:
    """The file that holds the study `name`."""
    return STUDIES / f"{name}.yaml"


def check_params(knobs: dict[str, Any], study: dict[str, Any]) -> Params:
    """`knobs`, laid out as in params.yaml, and a study's sections, as checked `Params`.

    Raises `UserError` with one line per problem: the file, the key, its value and what is allowed.
    """
    try:
        return Params.model_validate({**knobs, "active": study})
    except ValidationError as error:
        file = study_file(str(knobs.get("study")))
        lines = (f"{PARAMS_FILE}: {line}" for line in problems(error))
        raise UserError(
            *(re.sub(rf"^{PARAMS_FILE}: active[.: ]+", f"{file}: ", line) for line in lines)
        ) from None


def load_params(root: str | Path = ".") -> Params:
    """Read and check params.yaml and the study's file, of the repository at `root`.

    Raises `UserError` as `check_params`, or where a file is missing or is not YAML.
    """
    knobs = read_yaml(Path(root, PARAMS_FILE))
    file = study_file(str(knobs.get("study")))
    if not Path(root, file).is_file():
        known = ", ".join(sorted(path.stem for path in Path(root, STUDIES).glob("*.yaml")))
        raise UserError(f"{PARAMS_FILE}: study: there is no {file}; there are {known}")
    return check_params(knobs, read_yaml(Path(root, file)))
