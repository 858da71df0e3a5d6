"""Split pairs into train and test sets by prompt."""

from fdpo.config.params import load_params
from fdpo.core import records
from fdpo.core.errors import UserError
from fdpo.core.records import Pair, Prompt
from fdpo.pairing import test_prompt_ids
from fdpo.run import stage
from stages import paths


def main() -> None:
    """Divide the pairs by prompt."""
    settings = load_params().active
    test_size = settings.split.test_size
    ids = [pair.id for pair in records.read(paths.PAIRS, Pair)]  # a line each
    paired = set(ids)
    # In the order they were drawn in: pairs.jsonl has them by length, from decoding.
    drawn = list(records.read_prompt_unique(paths.PROMPTS, Prompt))
    check_prompts(ids, {prompt.id for prompt in drawn if prompt.role != "heldout"})
    prompts = [prompt for prompt in drawn if prompt.id in paired]
    if test_size == "given":
        held = given_split(prompts)
    else:
        held = test_prompt_ids([prompt.id for prompt in prompts], test_size)
    train = records.copy(paths.TRAIN_PAIRS, paths.PAIRS, (number not in held for number in ids))
    test = records.copy(paths.TEST_PAIRS, paths.PAIRS, (number in held for number in ids))
    print(f"split: {train} pairs of {len(paired) - len(held)} prompts to train on, ", end="")
    print(f"{test} of {len(held)} to test on")


def check_prompts(ids: list[int], known: set[int]) -> None:
    """Raise `UserError` at the first pair whose prompt could be in neither set."""
    for line, number in enumerate(ids, start=1):
        if number not in known:
            raise UserError(
                f"{paths.PAIRS}:{line}: id = {number} is no train or test prompt of"
                f" {paths.PROMPTS}; rebuild both with `dvc repro`"
            )


def given_split(prompts: list[Prompt]) -> set[int]:
    """The prompts that were given to test with. Raises `UserError` when either set is empty."""
    held = {prompt.id for prompt in prompts if prompt.role == "test"}
    if not 0 < len(held) < len(prompts):
        raise UserError(
            f"split.test_size = given: of {len(prompts)} prompts with pairs {len(held)} are in a"
            " split named test, so one set would be empty; set it to a share, such as 0.2"
        )
    return held


if __name__ == "__main__":
    stage.run("split", main)
