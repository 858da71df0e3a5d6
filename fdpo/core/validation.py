"""The base of everything read from disk, and what pydantic found wrong with it, in lines."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

Text = Annotated[str, Field(min_length=1)]


class Strict(BaseModel):
    """Base of everything read from disk: no unknown keys, no coercion, no NaN or infinity."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, allow_inf_nan=False, protected_namespaces=()
    )


def problems(error: ValidationError) -> list[str]:
    """A line per problem: the key, the value where it is short, and pydantic's message."""
    lines = []
    for problem in error.errors(include_url=False):
        key = ".".join(map(str, problem["loc"]))
        value = repr(problem["input"])
        is_shown = problem["type"] not in ("missing", "extra_forbidden") and len(value) <= 80
        message = problem["msg"].removeprefix("Value error, ")
        lines.append(f"{key}{f' = {value}' if is_shown else ''}: {message}" if key else message)
    return lines
