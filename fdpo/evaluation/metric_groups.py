"""The metrics of fdpo.evaluation.metric_registry, computed group by group, with intervals."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from torch import Tensor

from fdpo.baselines.distinct import distinct_interval
from fdpo.baselines.intervals import (
    Interval,
    mean_interval,
    paired_difference,
    statistic_interval,
)
from fdpo.core.randomness import RandomStreams
from fdpo.decoding.sampling import Sampled
from fdpo.evaluation.metric_registry import HEADLINE_METRICS
from fdpo.evaluation.metrics import diversity, preferences
from fdpo.evaluation.metrics.divergence import (
    TokenDivergences,
    divergence_sums,
    monte_carlo_kl,
    sequence_divergences,
    sequence_kl,
)

MetricTable = dict[str, Interval]  # by the names of fdpo.evaluation.metric_registry


@dataclass(frozen=True)
class Scores:
    """A scorer's values of policy and reference samples: [prompts, samples] each."""

    policy: np.ndarray
    reference: np.ndarray


@dataclass(frozen=True)
class SampleDivergences:
    """How far each sample of the policy is from the reference: [prompts, samples] each."""

    kl: np.ndarray
    """KL(π‖π_ref) summed over the sample's tokens, in nats."""
    entropy: np.ndarray
    """Mean entropy of π at its tokens, in nats per token."""
    control: np.ndarray
    """`TokenDivergences.control` summed over the sample's tokens."""


@dataclass(frozen=True)
class PairMeasures:
    """What the policy says of the test pairs, [pairs] each, and the prompt of each pair."""

    chosen_reward: np.ndarray
    """β·g(ρ) of the chosen completions."""
    rejected_reward: np.ndarray
    chosen_logp_change: np.ndarray
    """ρ = log π − log π_ref of the chosen completions, in nats."""
    rejected_logp_change: np.ndarray
    loss_capped: np.ndarray
    """The pairs' own loss, as `fdpo.losses.capped` has it."""
    loss_reference: np.ndarray
    """Their loss where π is the reference."""
    prompts: np.ndarray


def score_metrics(name: str, scores: Scores, control: np.ndarray) -> MetricTable:
    """Mean score, the reference's, their paired difference, the win rate and the best sample's.

    Ties count half. Where `control` is not all 0, also the difference with the noise taken out that
    it explains.

    Args:
        name: "reward" or "judge": the scorer, which the metrics are named by.
        scores: of both models' samples.
        control: of the policy's samples, [prompts, samples], of mean 0 by construction.
    """
    policy, reference = scores.policy.mean(axis=1), scores.reference.mean(axis=1)
    wins = preferences.win_rate(scores.policy, scores.reference)
    table = {
        name: mean_interval(policy),
        f"{name}_reference": mean_interval(reference),
        f"{name}_difference": paired_difference(policy, reference),
        f"{name}_win_rate": mean_interval(wins, share=True),
        f"{name}_best": mean_interval(scores.policy.max(axis=1)),
    }
    if control.any():
        adjusted = policy - control_slope(scores.policy, control) * control.mean(axis=1)
        table[f"{name}_difference_adjusted"] = paired_difference(adjusted, reference)
    return table


def control_slope(scores: np.ndarray, control: np.ndarray) -> float:
    """The least-squares slope of scores on their control variate within prompts.

    Of all multiples of the control it takes out the most noise. Estimated from the same samples it
    biases their mean by less than its noise, of the order of 1 / samples.
    """
    within = control - control.mean(axis=1, keepdims=True)
    spread = float((within**2).sum())
    return float((within * scores).sum()) / spread if spread else 0.0


def divergence_metrics(
    samples: Sequence[Sequence[Sampled]],
    divergences: Sequence[TokenDivergences],
    reference_ratios: np.ndarray,
) -> MetricTable:
    """How far the policy is from the reference, in nats.

    `divergences` holds one entry per prompt, its samples' tokens one after another;
    `reference_ratios` is log π − log π_ref of the reference's samples, [prompts, samples].
    """
    columns, ratios = defaultdict[str, list[float]](list), []
    for completions, tokens in zip(samples, divergences, strict=True):
        lengths = [len(completion.ids) for completion in completions]
        for name, values in {
            "kl": sequence_kl(tokens.kl, lengths),
            "kl_monte_carlo": monte_carlo_kl(tokens.policy_logp, tokens.reference_logp, lengths),
            "forward_kl_token_sum": divergence_sums(tokens.forward_kl, lengths),
            "jsd_token_sum": divergence_sums(tokens.jsd, lengths),
            "entropy": tokens.entropy,
        }.items():
            columns[name].append(_mean(values))
        ratios.append(monte_carlo_kl(tokens.policy_logp, tokens.reference_logp, lengths).tolist())
    forward, jsd = sequence_divergences(np.array(ratios), reference_ratios)
    columns |= {"forward_kl": forward.tolist(), "jsd": jsd.tolist()}
    return {name: mean_interval(np.array(values)) for name, values in columns.items()}


def sample_divergences(
    samples: Sequence[Sequence[Sampled]], divergences: Sequence[TokenDivergences]
) -> SampleDivergences:
    """Each sample's KL, entropy and control; `divergences` is as for `divergence_metrics`."""
    kl, entropy, control = [], [], []
    for completions, tokens in zip(samples, divergences, strict=True):
        lengths = [len(completion.ids) for completion in completions]
        kl.append(sequence_kl(tokens.kl, lengths).tolist())
        entropy.append([_mean(part) for part in tokens.entropy.split(lengths)])
        control.append(divergence_sums(tokens.control, lengths).tolist())
    return SampleDivergences(np.array(kl), np.array(entropy), np.array(control))


def _mean(values: Tensor) -> float:
    return float(values.mean())


def diversity_metrics(
    samples: Sequence[Sequence[Sampled]],
    texts: Sequence[Sequence[str]],
    unigrams: Sequence[Sequence[Sequence[int]]],
    budget: int,
    streams: RandomStreams,
    good_distances: np.ndarray | None = None,
) -> MetricTable:
    """How varied the policy's samples are.

    Args:
        samples: each prompt's samples.
        texts: each prompt's completions as text, without the prompt.
        unigrams: the token ids that `unigram_entropy` pools, by prompt and text: where the study
            has published figures, the reward model's, special tokens included, of the whole texts
            decoded as those were; elsewhere the policy's own, of prompt and completion.
        budget: how many n-grams distinct-n looks at.
        streams: the run's random streams, for the subsamples of prompts.
        good_distances: of `diversity.good_distances`, [prompts], where the judge embeds texts.
    """
    ids = [[completion.ids for completion in completions] for completions in samples]

    def over(function: Callable[[Sampled], float]) -> np.ndarray:
        return np.array([np.mean([function(completion) for completion in row]) for row in samples])

    table = {
        "distinct_1": distinct_interval(ids, 1, budget),
        "distinct_2": distinct_interval(ids, 2, budget),
        "unigram_entropy": _unigram_entropy(unigrams, streams("bootstrap", "unigram_entropy")),
        "self_bleu": mean_interval(np.array(list(map(diversity.self_bleu, texts))), share=True),
        "length": mean_interval(over(lambda completion: len(completion.ids))),
        "finished": mean_interval(over(lambda completion: completion.finished), share=True),
        "repeated_4grams": mean_interval(
            over(lambda completion: diversity.repeated_ngram_share(completion.ids, 4)), share=True
        ),
    }
    if good_distances is not None and not np.isnan(good_distances).all():
        table["good_distance"] = mean_interval(good_distances[~np.isnan(good_distances)])
    return table


def preference_metrics(pairs: PairMeasures, streams: RandomStreams) -> MetricTable:
    """Accuracy, margin, calibration and change of log π on the test pairs, resampled by prompt."""
    prompts = list(dict.fromkeys(pairs.prompts.tolist()))
    members = [np.flatnonzero(pairs.prompts == prompt) for prompt in prompts]

    def over(
        name: str, statistic: Callable[..., float], *columns: np.ndarray, **kind: Any
    ) -> Interval:
        def of(chosen_prompts: np.ndarray) -> float:
            places = np.concatenate([members[prompt] for prompt in chosen_prompts])
            return statistic(*(column[places] for column in columns))

        return statistic_interval(of, len(members), streams("bootstrap", name), **kind)

    rewards = (pairs.chosen_reward, pairs.rejected_reward)
    table = {
        "accuracy": over("accuracy", preferences.accuracy, *rewards, share=True),
        "margin": over("margin", preferences.margin, *rewards),
        "calibration_error": over(
            "calibration_error", preferences.calibration_error, *rewards, share=True, kept=0.25
        ),
    }
    for name in ("chosen_logp_change", "rejected_logp_change", "loss_capped", "loss_reference"):
        table[name] = over(name, lambda values: float(values.mean()), getattr(pairs, name))
    return table


def published_metrics(
    rewards: Scores,
    reference_unigrams: Sequence[Sequence[Sequence[int]]],
    streams: RandomStreams,
) -> MetricTable:
    """Mean reward, and the reference's unigram entropy, of texts decoded as published ones were.

    `rewards` are [prompts, 1] each; `reference_unigrams` is as for `diversity_metrics`, which pools
    the policy's.
    """
    name = "unigram_entropy_reference"
    return {
        name: _unigram_entropy(reference_unigrams, streams("bootstrap", name)),
        "published_reward": mean_interval(rewards.policy.mean(axis=1)),
        "published_reward_reference": mean_interval(rewards.reference.mean(axis=1)),
    }


def _unigram_entropy(
    unigrams: Sequence[Sequence[Sequence[int]]], rng: np.random.Generator
) -> Interval:
    return statistic_interval(
        lambda prompts: diversity.unigram_entropy([row for p in prompts for row in unigrams[p]]),
        len(unigrams),
        rng,
    )


def headline(table: MetricTable) -> dict[str, float]:
    """The numbers to rank experiments by, rounded for `dvc exp show`."""
    return {
        metric.name: round(table[metric.name].value, 4)
        for metric in HEADLINE_METRICS
        if metric.name in table  # a study without a judge has no score of it
    }


def as_json(table: MetricTable) -> dict[str, dict[str, float | None]]:
    """The table as results/evaluate/metrics.json has it: value, low and high of each metric."""
    return {name: asdict(interval) for name, interval in table.items()}


def summary(table: MetricTable) -> str:
    """One line for the terminal: what rose, by how much, and how far the policy went for it."""
    gain = table["reward_difference"]
    interval = "" if gain.low is None else f" [{gain.low:+.3f}, {gain.high:+.3f}]"
    judged = table.get("judge_difference")
    judge = f" judge {judged.value:+.3f};" if judged else ""
    return (
        f"reward {table['reward'].value:.3f}, {gain.value:+.3f} to the reference{interval};"
        f"{judge} KL {table['kl'].value:.2f} nats"
    )
