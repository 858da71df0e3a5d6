"""The reference's scored samples of held-out prompts, which every policy is compared with."""

from collections.abc import Sequence
from pathlib import Path

from fdpo.core.errors import UserError
from fdpo.core.records import ScoredGeneration

REBUILD_SCORES = "rebuild the file with `dvc repro`"


def select_heldout(
    path: str | Path, scores: Sequence[ScoredGeneration], judged: bool
) -> list[ScoredGeneration]:
    """The held-out records of `scores`, in order.

    Args:
        path: the file that `scores` are the lines of, for messages.
        scores: all scored generations.
        judged: whether the study has a judge.

    Raises:
        UserError: there is no held-out prompt, one has more samples than another, or the judge has
            not scored them all.
    """
    by_line = {
        number: generation
        for number, generation in enumerate(scores, start=1)
        if generation.role == "heldout"
    }
    if not by_line:
        raise UserError(f"{path}: no heldout prompt; {REBUILD_SCORES}")
    first = next(iter(by_line))
    expected = len(by_line[first].completions)
    for number, generation in by_line.items():
        if (count := len(generation.completions)) != expected:
            raise UserError(
                f"{path}:{number}: {count} completions, but {expected} in line {first};"
                f" {REBUILD_SCORES}"
            )
        for index, completion in enumerate(generation.completions):
            if judged and completion.judge is None:
                raise UserError(
                    f"{path}:{number}: completions[{index}].judge: missing; {REBUILD_SCORES}"
                )
    return list(by_line.values())
