"""params.yaml, checked against the losses there are."""

from pathlib import Path
from typing import Any

from fdpo.config import params
from fdpo.config.params import Params
from fdpo.losses import LOSSES


def load_params(path: str | Path = "params.yaml") -> Params:
    """Read and check params.yaml. Raises `UserError` with one line per problem."""
    return params.load(path, losses=LOSSES)


def check_params(values: Any) -> Params:
    """Check values laid out as in params.yaml. Raises `UserError` with one line per problem."""
    return params.check(values, losses=LOSSES)
