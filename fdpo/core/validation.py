"""What pydantic found wrong, in one line."""

import re
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError


class Strict(BaseModel):
    """Base of everything read from disk: no unknown keys, no coercion, no NaN or infinity."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, allow_inf_nan=False, protected_namespaces=()
    )


def first_problem(error: ValidationError) -> str:
    """The first problem, unknown keys before others, as `key = value: what is allowed`."""
    problem = min(error.errors(include_url=False), key=lambda e: e["type"] != "extra_forbidden")
    message = _plain(problem["msg"])
    place = _dotted(problem["loc"])
    more = error.error_count() - 1
    suffix = f" (and {more} more problems)" if more > 1 else " (and 1 more problem)" if more else ""
    if problem["type"] == "extra_forbidden":
        return f"{place}: unknown key; remove it or correct its spelling{suffix}"
    if problem["type"] == "missing":
        return f"{place}: missing; add it{suffix}"
    if isinstance(problem["input"], dict) and problem["input"]:  # a whole section: too long
        return f"{place}: {message}{suffix}" if place else f"{message}{suffix}"
    value = _shown(problem["input"])
    return f"{place} = {value}: {message}{suffix}" if place else f"{message}{suffix}"


# Pydantic's words, and what a user of a YAML or JSON file calls the same.
_WORDS = {
    r"^Value error, ": "",
    r"^Invalid JSON: ": "not JSON: ",
    r"^(Input|List|String|Dictionary) should ": "must ",
    r"must be a valid dictionary.*": "must be a section of keys",
    r"must be a valid integer.*": "must be a whole number",
    r"must be a valid number.*": "must be a number",
    r"must be a valid string": "must be text",
    r"must be a valid boolean": "must be true or false",
    r"must be a valid (list|array)": "must be a list",
    r"must match pattern": "must match",
    r"greater than or equal to": "at least",
    r"less than or equal to": "at most",
    r" after validation, not \d+$": "",
}


def _plain(message: str) -> str:
    for pattern, words in _WORDS.items():
        message = re.sub(pattern, words, message)
    return message


def _dotted(location: tuple[Any, ...]) -> str:
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def _shown(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    try:
        text = repr(value)
    except ValueError:  # Python writes out no integer of more than 4,300 digits
        return "a number of thousands of digits"
    return text if len(text) <= 80 else text[:77] + "..."
