"""Split pairs into train and test sets by prompt."""

from collections.abc import Iterator

from fdpo import errors, params, records
from fdpo.pairing import held_back
from fdpo.records import Pair

PAIRS = "data/pairs.jsonl"
TRAIN = "data/train.jsonl"
TEST = "data/test.jsonl"


def main() -> None:
    test_size = params.load().active.split.test_size
    prompts = list(dict.fromkeys(pair.id for pair in records.read(PAIRS, Pair)))
    held = held_back(prompts, test_size)

    def pairs(test: bool) -> Iterator[Pair]:
        return (pair for pair in records.read(PAIRS, Pair) if (pair.id in held) == test)

    train = records.write(TRAIN, pairs(test=False))
    test = records.write(TEST, pairs(test=True))
    print(f"split: {train} pairs of {len(prompts) - len(held)} prompts to train on, ", end="")
    print(f"{test} of {len(held)} to test on")


if __name__ == "__main__":
    errors.run(main)
