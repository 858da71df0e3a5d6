"""YAML as DVC reads it, so that a value means the same to both."""

from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from fdpo.core.errors import UserError


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Read a map from a YAML 1.2 file with DVC's own reader, ruamel.yaml.

    In YAML 1.2 `1e-05` is a number and `1:30` is text; PyYAML has it the other way round. Raises
    `UserError` in one line when the file is missing, not YAML, or not a map.
    """
    try:
        value = YAML(typ="safe", pure=True).load(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: missing; run from the repository's root") from None
    except (YAMLError, ValueError) as error:
        raise UserError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(value, dict):
        raise UserError(f"{path}: must be a map of keys and values; restore it from Git")
    return value
