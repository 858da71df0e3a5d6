"""What the reference reaches without training: at lower temperatures, and as the best of n samples.

A policy that gives no more reward than these at the same KL has learnt nothing that sampling alone
does not give.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.special import comb

from fdpo.baselines.distinct import distinct_interval
from fdpo.baselines.intervals import (
    Interval,
    mean_interval,
    paired_difference,
)


@dataclass(frozen=True)
class PromptScores:
    """Reward and judge, where there is one, of a sample set: [prompts, samples] each."""

    reward: np.ndarray
    judge: np.ndarray | None

    @classmethod
    def each(cls, function: Callable[..., np.ndarray], *scores: "PromptScores") -> "PromptScores":
        """`function` of the rewards of `scores`, and of the judge's."""
        judges = [one.judge for one in scores if one.judge is not None]
        return cls(function(*(one.reward for one in scores)), function(*judges) if judges else None)


def best_of_n(rewards: np.ndarray, n: int) -> np.ndarray:
    """The chance of each sample to be the best of n drawn from its prompt's N: [prompts, N].

    Averaged over all subsets of size n, which are C(N, n): the sample of rank i from below is the
    best of C(i - 1, n - 1) of them. Samples of equal reward share their chances, as when a coin
    decides between them. So a row's product with the rewards estimates the reward of best-of-n
    without bias, and with another score that of the sample so selected.

    rewards: [prompts, N]. Raises ValueError when n is below 1 or above N.
    """
    prompts, samples = rewards.shape
    if not 1 <= n <= samples:
        raise ValueError(f"n = {n}: must be from 1 to the {samples} samples of a prompt")
    by_rank = comb(np.arange(samples), n - 1) / comb(samples, n)
    chances = np.empty((prompts, samples))
    for row, values in zip(chances, rewards, strict=True):
        _, groups, sizes = np.unique(values, return_inverse=True, return_counts=True)
        ends = np.cumsum(sizes)
        shares = [by_rank[end - size : end].mean() for end, size in zip(ends, sizes, strict=True)]
        row[:] = np.array(shares)[groups]
    return chances


def best_of_n_kl_bound(n: int) -> float:
    """log n - (n - 1)/n nats: no less than KL(best-of-n‖reference), arXiv 2401.01879."""
    return math.log(n) - (n - 1) / n


def best_of_row(n: int, plain: PromptScores) -> dict[str, Any]:
    """The entry of results/baselines.json for the best of n of the reference's plain samples."""
    chances = best_of_n(plain.reward, n)
    selected = PromptScores.each(
        lambda scores: (chances * scores).sum(axis=1, keepdims=True), plain
    )
    metrics = _score_metrics(selected, plain)
    return {
        "baseline": "best_of",
        "n": n,
        "samples": plain.reward.shape[1],
        "kl_bound": best_of_n_kl_bound(n),
        "metrics": _as_json(metrics),
    }


def temperature_row(
    temperature: float,
    tempered: PromptScores,
    plain: PromptScores,
    kl: np.ndarray,
    entropy: np.ndarray,
    ids: Sequence[Sequence[Sequence[int]]],
    distinct_budget: int,
) -> dict[str, Any]:
    """The entry of results/baselines.json for the reference at a temperature.

    Args:
        temperature: that of the samples.
        tempered: the scores of the samples.
        plain: those of the reference's plain samples.
        kl: KL(p_T‖p_1) per completion in nats, [prompts, samples].
        entropy: the sum of each completion's next-token entropies in nats, [prompts, samples].
        ids: each prompt's samples as token ids.
        distinct_budget: how many n-grams distinct-2 counts over; with fewer it is None, as it
            would not compare with a policy's.
    """
    metrics: dict[str, Interval | None] = {**_score_metrics(tempered, plain)}
    tokens = np.array([sum(map(len, row)) for row in ids])
    metrics["kl"] = mean_interval(kl.mean(axis=1))
    metrics["entropy"] = mean_interval(entropy.sum(axis=1) / tokens)
    metrics["distinct_2"] = _distinct_2(ids, distinct_budget)
    return {
        "baseline": "temperature",
        "temperature": temperature,
        "samples": tempered.reward.shape[1],
        "metrics": _as_json(metrics),
    }


def _distinct_2(ids: Sequence[Sequence[Sequence[int]]], budget: int) -> Interval | None:
    bigrams = sum(max(0, len(completion) - 1) for row in ids for completion in row)
    return distinct_interval(ids, 2, budget) if bigrams >= budget else None


def _score_metrics(scores: PromptScores, plain: PromptScores) -> dict[str, Interval]:
    """Mean scores, and their difference to the mean of all plain samples, paired by prompt."""
    metrics = {}
    for scorer in ("reward", "judge") if plain.judge is not None else ("reward",):
        of_baseline = getattr(scores, scorer).mean(axis=1)
        of_reference = getattr(plain, scorer).mean(axis=1)
        metrics[scorer] = mean_interval(of_baseline)
        metrics[f"{scorer}_difference"] = paired_difference(of_baseline, of_reference)
    return metrics


def _as_json(metrics: dict[str, Any]) -> dict[str, dict[str, float | None] | None]:
    return {name: asdict(value) if value else None for name, value in metrics.items()}
