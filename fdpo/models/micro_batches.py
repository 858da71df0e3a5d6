"""A step's pairs as micro-batches, each distinct sequence once."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from fdpo.core.records import Pair
from fdpo.models.packing import Branches, pack

TRL_COLUMNS = ("prompt_ids", "chosen_ids", "rejected_ids", "ref_chosen_logps", "ref_rejected_logps")


def to_trl_columns(pairs: Sequence[Pair]) -> list[dict]:
    """Pairs as mappings with `TRL_COLUMNS`, TRL's names for what a step needs."""
    fields = ("prompt_ids", "chosen_ids", "rejected_ids", "ref_chosen_logp", "ref_rejected_logp")
    return [
        {column: getattr(pair, field) for column, field in zip(TRL_COLUMNS, fields, strict=True)}
        for pair in pairs
    ]


@dataclass(frozen=True)
class MicroBatch:
    """Pairs that go through the model together, each distinct sequence once.

    `chosen` and `rejected` [pairs] number the sequences of `branches`; the reference
    log-probabilities [pairs] are the recorded ones, in nats; `indices` [pairs] are the pairs'
    places in the rows that `micro_batches` was given, and `weight` [] is their share of those rows.
    """

    indices: Tensor
    branches: Branches
    chosen: Tensor
    rejected: Tensor
    ref_chosen_logps: Tensor
    ref_rejected_logps: Tensor
    weight: Tensor

    @property
    def lengths(self) -> tuple[Tensor, Tensor]:
        """Tokens of the chosen and of the rejected completions, [pairs] each."""
        of_sequences = self.branches.sequence.bincount()
        return of_sequences[self.chosen], of_sequences[self.rejected]

    def to(self, device: torch.device) -> "MicroBatch":
        """The same on another device."""
        return MicroBatch(**{name: value.to(device) for name, value in vars(self).items()})


def micro_batches(rows: Sequence[dict], tokens: int) -> list[MicroBatch]:
    """Split a step's pairs into micro-batches of about `tokens` distinct tokens.

    `rows` are mappings with `TRL_COLUMNS`. Pairs of one prompt stay together, so a sequence never
    runs twice in a step; a prompt with more tokens than that makes a micro-batch of its own. The
    step's loss is a mean over pairs, so gradients summed over micro-batches are exactly those of
    the step.
    """
    prompts: dict[tuple[int, ...], list[dict]] = {}
    for index, row in enumerate(rows):
        prompts.setdefault(tuple(row["prompt_ids"]), []).append({**row, "index": index})
    by_length = sorted(prompts.items(), key=lambda item: _tokens(*item))
    batches: list[list[dict]] = []
    room = 0
    for prompt, members in by_length:
        need = _tokens(prompt, members)
        if need > room:
            batches.append([])
            room = tokens
        batches[-1].extend(members)
        room -= need
    return [_micro_batch(members, len(members) / len(rows)) for members in batches]


def shard_step(rows: Sequence[dict], tokens: int, process: int, processes: int) -> list[MicroBatch]:
    """The micro-batches of a step that one of several processes runs.

    Every process gets as many, since each takes part in every exchange: where one has fewer it
    repeats its smallest at weight 0. Weights are such that the mean over processes of the sum of
    weighted losses is the step's mean over pairs.
    """
    size = -(-len(rows) // processes)
    parts = [rows[start : start + size] for start in range(0, len(rows), size)]
    shares = [micro_batches(part, tokens) for part in parts]
    most = max(map(len, shares))
    own = shares[process] if process < len(shares) else []
    scale = processes * len(parts[process]) / len(rows) if own else 0
    idle = replace((own or shares[0])[0], weight=torch.tensor(0.0, dtype=torch.float64))
    weighted = [replace(batch, weight=batch.weight * scale) for batch in own]
    return weighted + [idle] * (most - len(own))


def _tokens(prompt: tuple[int, ...], rows: Sequence[dict]) -> int:
    distinct = {tuple(row[side]) for row in rows for side in ("chosen_ids", "rejected_ids")}
    return len(prompt) + sum(len(completion) - 1 for completion in distinct)


def _micro_batch(rows: Sequence[dict], weight: float) -> MicroBatch:
    """`rows` as one micro-batch; those of a prompt stand together, as its sequences do."""
    prompts: dict[tuple[int, ...], list[tuple[int, ...]]] = {}
    numbers: dict[tuple[tuple[int, ...], tuple[int, ...]], int] = {}
    sides: dict[str, list[int]] = {"chosen_ids": [], "rejected_ids": []}
    for row in rows:
        prompt = tuple(row["prompt_ids"])
        for side, places in sides.items():
            completion = tuple(row[side])
            if (prompt, completion) not in numbers:
                numbers[prompt, completion] = len(numbers)
                prompts.setdefault(prompt, []).append(completion)
            places.append(numbers[prompt, completion])

    def logps(side: str) -> Tensor:
        return torch.tensor([row[side] for row in rows], dtype=torch.float64)

    return MicroBatch(
        indices=torch.tensor([row["index"] for row in rows]),
        branches=pack(list(prompts.items())),
        chosen=torch.tensor(sides["chosen_ids"]),
        rejected=torch.tensor(sides["rejected_ids"]),
        ref_chosen_logps=logps("ref_chosen_logps"),
        ref_rejected_logps=logps("ref_rejected_logps"),
        weight=torch.tensor(weight, dtype=torch.float64),
    )
