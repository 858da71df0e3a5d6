"""Ranked completions to preference pairs, their labels, and pairs to train and test sets."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from fdpo.core.errors import UserError
from fdpo.core.randomness import RandomStreams
from fdpo.core.records import Pair, ScoredCompletion, ScoredGeneration


@dataclass(frozen=True)
class Labels:
    """Whether a pair's chosen completion stays the chosen one.

    With a `temperature` T it stays with probability σ(d/T), where d is how much greater its reward
    is (Bradley–Terry), else always; then a share `flip_rate` of all labels is exchanged.
    """

    temperature: float | None = None  # > 0, in units of reward
    flip_rate: float = 0.0  # 0 ≤ flip_rate ≤ ½

    @property
    def drawn(self) -> bool:
        """Whether labels are random."""
        return self.temperature is not None or self.flip_rate > 0

    def probability(self, difference: float) -> float:
        """That a completion whose reward is greater by `difference` is the chosen one."""
        right = 1.0 if self.temperature is None else _sigmoid(difference / self.temperature)
        return self.flip_rate + (1 - 2 * self.flip_rate) * right


BY_RANK = Labels()


def _sigmoid(x: float) -> float:
    return (1 + math.tanh(x / 2)) / 2  # no overflow


def labelled(
    pairs: Iterator[Pair | None], prompt: int, labels: Labels, streams: RandomStreams
) -> Iterator[Pair | None]:
    """The pairs of one prompt, chosen and rejected exchanged where a label so falls.

    Each place draws once, those of None too, from a random stream of the prompt's labels alone.
    """
    draws = streams("label", prompt)
    for pair in pairs:
        draw = draws.random()
        if pair and draw >= labels.probability(pair.chosen_reward - pair.rejected_reward):
            pair = _exchanged(pair)
        yield pair


def _exchanged(pair: Pair) -> Pair:
    return pair.model_copy(
        update={
            "chosen_ids": pair.rejected_ids,
            "rejected_ids": pair.chosen_ids,
            "ref_chosen_logp": pair.ref_rejected_logp,
            "ref_rejected_logp": pair.ref_chosen_logp,
            "chosen_reward": pair.rejected_reward,
            "rejected_reward": pair.chosen_reward,
            "chosen_rank": pair.rejected_rank,
            "rejected_rank": pair.chosen_rank,
        }
    )


def ranked(completions: Sequence[ScoredCompletion]) -> list[ScoredCompletion]:
    """Completions by reward, best first; equal rewards keep the order of sampling."""
    return sorted(completions, key=lambda completion: -completion.reward)


def pairs_of(
    generation: ScoredGeneration,
    ranks: Sequence[Sequence[int]] | Literal["given"],
    keep_ties: bool = False,
) -> Iterator[Pair | None]:
    """A pair for each (better, worse) of `ranks`, counted from 1; None where the two are alike.

    Two completions are alike when their tokens are, or their rewards unless `keep_ties`. With
    `given` the pairs are those that came with the prompt, even against the rewards; None where the
    tokens are the same, as the length limit may leave them. Their ranks are 1 and 2. A rank beyond
    the completions of the prompt gives None.
    """
    if ranks == "given":
        for indices in generation.given or ():
            chosen, rejected = (generation.completions[index] for index in indices)
            same = chosen.ids == rejected.ids
            yield None if same else _pair(generation, chosen, rejected, 1, 2)
        return
    order = ranked(generation.completions)
    for better, worse in ranks:
        if worse > len(order):  # only completions from elsewhere may be fewer
            yield None
            continue
        first, second = order[better - 1], order[worse - 1]
        tied = first.reward == second.reward and not keep_ties
        alike = tied or first.ids == second.ids
        yield None if alike else _pair(generation, first, second, better, worse)


def _pair(
    generation: ScoredGeneration,
    chosen: ScoredCompletion,
    rejected: ScoredCompletion,
    chosen_rank: int,
    rejected_rank: int,
) -> Pair:
    return Pair(
        id=generation.id,
        prompt_ids=generation.prompt_ids,
        chosen_ids=chosen.ids,
        rejected_ids=rejected.ids,
        ref_chosen_logp=chosen.ref_logp,
        ref_rejected_logp=rejected.ref_logp,
        chosen_reward=chosen.reward,
        rejected_reward=rejected.reward,
        chosen_rank=chosen_rank,
        rejected_rank=rejected_rank,
    )


def test_prompt_ids(prompt_ids: Sequence[int], test_size: float) -> set[int]:
    """The last ⌈test_size · prompts⌉ prompts, unshuffled, so that no prompt is in both sets.

    Args: distinct prompt ids in the order of the file. Raises `UserError` when either set would
    be empty.
    """
    count = -(-len(prompt_ids) * round(test_size * 10**9) // 10**9)  # exact for decimal shares
    if not 0 < count < len(prompt_ids):
        raise UserError(
            f"split.test_size = {test_size}: of {len(prompt_ids)} prompts with pairs it leaves "
            "none to train or none to test on; change it or raise prepare.train_prompts"
        )
    return set(prompt_ids[len(prompt_ids) - count :])
