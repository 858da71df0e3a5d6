"""YAML as DVC reads it, so that a value means the same to both."""

import re
import warnings
from copy import deepcopy
from functools import lru_cache
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import ReusedAnchorWarning, YAMLError

from fdpo.core.errors import UserError

# Aliases that name aliases grow without bound as they are followed; no params file comes near.
MOST_VALUES = 100_000

# Of any other version than that which DVC reads: under 1.1 its writer takes `yes` for true.
_OTHER_VERSION = re.compile(r"^\ufeff?(%YAML(?! +1\.2 *(#.*)?$).*)", re.MULTILINE)

# The reader's own error, and those that a value with the wrong tag raises within it.
_NOT_YAML = (YAMLError, RecursionError, ValueError, LookupError, TypeError, AttributeError)


def read_yaml(path: str | Path) -> dict[Any, Any]:
    """Read a map from a YAML 1.2 file with DVC's own reader, ruamel.yaml.

    In YAML 1.2 `1e-05` is a number and `1:30` is text. A key that occurs twice is refused. Raises
    `UserError` in one line when the file is missing, not YAML, of another version, not a map, or
    expands to more than `MOST_VALUES` values.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
        if other := _OTHER_VERSION.search(text):
            raise UserError(f"{path}: {other[1]!r}: DVC reads YAML 1.2; remove that line")
        value = deepcopy(_parsed(text))
    except FileNotFoundError:
        raise UserError(f"{path}: missing; run from the folder that holds it") from None
    except DuplicateKeyError as error:
        key = str(error.problem).split('"')[1]
        line = error.problem_mark.line + 1
        raise UserError(f"{path}:{line}: key {key!r} occurs twice; remove one of them") from None
    except _NOT_YAML as error:
        raise UserError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(value, dict):
        raise UserError(f"{path}: must be a map of keys and values; restore it from Git")
    if _more_values_than(MOST_VALUES, value):
        raise UserError(
            f"{path}: its aliases expand to more than {MOST_VALUES} values; write them out"
        )
    return value


@lru_cache(maxsize=8)  # 70 ms for params.yaml, which several parts of a stage read
def _parsed(text: str) -> Any:
    # First not in C, as DVC itself reads: there, brackets nested too deep end the process.
    with warnings.catch_warnings(action="ignore", category=ReusedAnchorWarning):  # C refuses it
        YAML(typ="safe", pure=True).load(text)
    return YAML(typ="safe").load(text)


def _more_values_than(limit: int, value: Any) -> bool:
    """Whether a tree of maps and lists has more than `limit` nodes, shared ones counted again."""
    waiting, seen = [value], 0
    while waiting:
        node = waiting.pop()
        seen += 1
        if seen + len(waiting) > limit:
            return True
        if isinstance(node, dict):
            waiting.extend(node.values())
        elif isinstance(node, list):
            waiting.extend(node)
    return False
