"""The order of pairs in an epoch, which decides what shares a step."""

from collections.abc import Iterator, Sequence

from torch.utils.data import Sampler

from fdpo.core.randomness import stream


class PromptOrder(Sampler[int]):
    """Pair indices of an epoch: prompts in random order, a prompt's pairs one after another.

    With `group=False` the pairs themselves come in random order. Seed and epoch alone decide it.
    """

    def __init__(self, prompts: Sequence[Sequence[int]], seed: int, group: bool):
        self.keys = [tuple(prompt) if group else index for index, prompt in enumerate(prompts)]
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order comes next; the Trainer calls it."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.keys)

    def __iter__(self) -> Iterator[int]:
        members: dict[object, list[int]] = {}
        for index, key in enumerate(self.keys):
            members.setdefault(key, []).append(index)
        groups = list(members.values())
        for position in stream(self.seed, "train order", self.epoch).permutation(len(groups)):
            yield from groups[position]
