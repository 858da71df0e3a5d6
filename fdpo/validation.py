"""What pydantic found wrong, in one line."""

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
    message = problem["msg"].removeprefix("Value error, ")
    place = _dotted(problem["loc"])
    more = error.error_count() - 1
    suffix = f" (and {more} more problems)" if more > 1 else " (and 1 more problem)" if more else ""
    if problem["type"] == "extra_forbidden":
        return f"{place}: unknown key; remove it or correct its spelling{suffix}"
    if problem["type"] == "missing":
        return f"{place}: missing; add it{suffix}"
    if isinstance(problem["input"], dict) and problem["input"]:  # a whole section: too long
        return f"{place}: {message}{suffix}"
    value = _shown(problem["input"])
    return f"{place} = {value}: {message[:1].lower()}{message[1:]}{suffix}" if place else message


def _dotted(location: tuple[Any, ...]) -> str:
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def _shown(value: Any) -> str:
    try:
        text = repr(value)
    except ValueError:  # Python writes out no integer of more than 4,300 digits
        return "a number of thousands of digits"
    return text if len(text) <= 80 else text[:77] + "..."
