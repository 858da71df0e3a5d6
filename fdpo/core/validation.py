"""What pydantic found wrong, in lines that a user of a YAML or JSON file understands."""

import re
from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

Text = Annotated[str, Field(min_length=1)]


class Strict(BaseModel):
    """Base of everything read from disk: no unknown keys, no coercion, no NaN or infinity."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, allow_inf_nan=False, protected_namespaces=()
    )


def problems(error: ValidationError, values: Any = None) -> list[str]:
    """A line per problem, unknown keys before others, as `key = value: what is allowed`.

    `values` is what was validated. Pydantic puts the name of a union's alternative into a problem's
    place, as if it were a key; with `values` such names are left out.
    """
    found = sorted(error.errors(include_url=False), key=lambda e: e["type"] != "extra_forbidden")
    return [_line(problem, values) for problem in found]


def first_problem(error: ValidationError) -> str:
    """The first of `problems`, and how many more there are."""
    first, *more = problems(error)
    if not more:
        return first
    return f"{first} (and {len(more)} more problem{'s' if len(more) > 1 else ''})"


def among(names: Iterable[str]) -> str:
    """What is allowed where it is one of some names."""
    *most, last = map(repr, names)
    return f"must be {', '.join(most)} or {last}" if most else f"must be {last}"


def _line(problem: ErrorDetails, values: Any) -> str:
    *parents, last = problem["loc"] or ("",)
    if problem["type"] == "missing":
        place = _dotted([*_keys(parents, values), last])
    else:
        place = _dotted(_keys(problem["loc"], values))
    message, value = _plain(problem["msg"]), problem["input"]
    match problem["type"]:
        case "extra_forbidden":
            return f"{place}: unknown key; remove it or correct its spelling"
        case "missing":
            return f"{place}: missing; add it"
        case "union_tag_not_found":
            return f"{place}.{problem['ctx']['discriminator'][1:-1]}: missing; add it"
        case "union_tag_invalid":
            key = problem["ctx"]["discriminator"][1:-1]
            names = [name.strip("'") for name in problem["ctx"]["expected_tags"].split(", ")]
            return f"{place}.{key} = {problem['ctx']['tag']!r}: {among(names)}"
    if isinstance(value, dict) and value:  # a whole section: too long to show
        return f"{place}: {message}" if place else message
    return f"{place} = {brief(value)}: {message}" if place else message


def _keys(location: Iterable[int | str], values: Any) -> list[int | str]:
    """The parts of a problem's location that are keys or places of `values`."""
    keys: list[int | str] = []
    for part in location:
        if isinstance(values, dict):
            if part not in values:
                continue  # the name of a union's alternative
            values = values.get(part)
        elif isinstance(values, list) and isinstance(part, int) and part < len(values):
            values = values[part]
        else:
            values = None
        keys.append(part)
    return keys


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


def _dotted(location: Iterable[int | str]) -> str:
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def brief(value: Any) -> str:
    """A value as a YAML or JSON file has it, near enough, and cut where it is long."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    try:
        text = repr(value)
    except ValueError:  # Python writes out no integer of more than 4,300 digits
        return "a number of thousands of digits"
    except RecursionError:
        return f"a {type(value).__name__} of hundreds of levels"
    return text if len(text) <= 80 else text[:77] + "..."
