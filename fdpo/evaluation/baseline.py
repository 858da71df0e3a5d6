"""The reference's scored samples of held-out prompts, which every policy is compared with."""

from collections.abc import Sequence
from pathlib import Path

from fdpo.core.errors import UserError
from fdpo.core.records import ScoredGeneration

REBUILD = "rebuild the file with `dvc repro`"


def heldout(path: str | Path, scores: Sequence[ScoredGeneration]) -> list[ScoredGeneration]:
    """The held-out ones of `scores`, which are the lines of the file at `path`.

    Raises `UserError` when there is none, when one has more samples than another, or when the judge
    has not seen them all.
    """
    lines = {number: one for number, one in enumerate(scores, 1) if one.role == "heldout"}
    if not lines:
        raise UserError(f"{path}: no heldout prompt; {REBUILD}")
    first = next(iter(lines))
    expected = len(lines[first].completions)
    for number, generation in lines.items():
        if (count := len(generation.completions)) != expected:
            raise UserError(
                f"{path}:{number}: {count} completions, but {expected} in line {first}; {REBUILD}"
            )
        for place, completion in enumerate(generation.completions):
            if completion.judge is None:
                raise UserError(f"{path}:{number}: completions[{place}].judge: missing; {REBUILD}")
    return list(lines.values())
