"""Completions as branches behind one shared prompt, in one row without padding."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

SPLIT_FROM = 2**18  # (query, key) places of a head that attending to a prompt once must save


@dataclass(frozen=True)
class Branches:
    """Distinct sequences of one or more prompts, flattened to T tokens.

    Each prompt stands once, followed by its completions without their last token, which is only
    ever predicted. S sequences, L the longest prompt + completion − 1, C completion tokens.
    """

    input_ids: Tensor  # [1, T]
    position_ids: Tensor  # [1, T], restarted behind the prompt in each completion
    gather_index: Tensor  # [S, L], the token of T at each position of each sequence; 0 is padding
    output_index: Tensor  # [T], where in the flattened [S·L] each token's attention output is read
    predictor_index: Tensor  # [C], the token of T whose hidden state predicts a completion token
    targets: Tensor  # [C], the completion token ids
    sequence: Tensor  # [C], the sequence that each completion token belongs to
    prompt_lengths: Tensor  # [S]

    @property
    def sequences(self) -> int:
        """The number of sequences, S."""
        return self.gather_index.shape[0]

    @property
    def attention(self) -> dict[str, Tensor]:
        """What the model passes on to `branch_attention`: split where that saves much."""
        whole = {"gather_index": self.gather_index, "output_index": self.output_index}
        starts, (sequences, longest) = self.prompt_lengths, self.gather_index.shape
        firsts, prompts = self.gather_index[:, 0].unique(return_inverse=True)
        prompt, branch = int(starts.max()), max(1, int(self.sequence.bincount().max()) - 1)
        split = len(firsts) * prompt**2 + sequences * branch * longest
        if sequences * longest**2 - split < SPLIT_FROM:
            return whole
        device = starts.device
        # A prompt and its branches stand in a row each; what lies beyond their ends is not read.
        prompt_index = firsts[:, None] + torch.arange(prompt, device=device)
        places = starts[:, None] + torch.arange(branch, device=device)
        owner, place = self.output_index // longest, self.output_index % longest
        start = starts[owner]
        of_branch = len(firsts) * prompt + owner * branch + place - start
        return {
            "gather_index": self.gather_index,
            "output_index": of_branch.where(place >= start, prompts[owner] * prompt + place),
            "prompt_index": prompt_index.clamp(max=self.input_ids.shape[1] - 1),
            "branch_index": self.gather_index.gather(1, places.clamp(max=longest - 1)),
            "prompt_lengths": starts,
        }

    def to(self, device: torch.device) -> "Branches":
        """The same on `device`."""
        return Branches(**{name: value.to(device) for name, value in vars(self).items()})


def pack(prompts: Sequence[tuple[Sequence[int], Sequence[Sequence[int]]]]) -> Branches:
    """Pack prompts and their completions into one row.

    Args:
        prompts: (prompt ids, completions' ids) of each; sequences are numbered in this order.

    Raises:
        ValueError: a prompt or a completion is empty.
    """
    input_ids: list[int] = []
    positions: list[int] = []
    sequences: list[list[int]] = []
    predictors: list[int] = []
    targets: list[int] = []
    sequence: list[int] = []
    lengths: list[int] = []
    for prompt, completions in prompts:
        if not prompt or not all(completions):
            raise ValueError("a prompt and each of its completions need at least one token")
        prefix = list(range(len(input_ids), len(input_ids) + len(prompt)))
        input_ids.extend(prompt)
        positions.extend(range(len(prompt)))
        for completion in completions:
            branch = list(range(len(input_ids), len(input_ids) + len(completion) - 1))
            input_ids.extend(completion[:-1])
            positions.extend(range(len(prompt), len(prompt) + len(branch)))
            predictors.extend([prefix[-1], *branch])
            targets.extend(completion)
            sequence.extend([len(sequences)] * len(completion))
            sequences.append(prefix + branch)
            lengths.append(len(prompt))
    gather_index = pad_sequence(list(map(torch.tensor, sequences)), batch_first=True)
    return Branches(
        input_ids=torch.tensor([input_ids]),
        position_ids=torch.tensor([positions]),
        gather_index=gather_index,
        output_index=_output_index(sequences, gather_index.shape[1], len(input_ids)),
        predictor_index=torch.tensor(predictors),
        targets=torch.tensor(targets),
        sequence=torch.tensor(sequence),
        prompt_lengths=torch.tensor(lengths),
    )


def _output_index(sequences: list[list[int]], longest: int, total: int) -> Tensor:
    index = [0] * total
    for number, tokens in reversed(list(enumerate(sequences))):  # a shared prompt: the first's
        for position, token in enumerate(tokens):
            index[token] = number * longest + position
    return torch.tensor(index)
