"""Every metric of a policy, declared once: what it is called, where it is shown, what it means.

Evaluation measures them (fdpo.evaluation.metric_groups). The headline of results/metrics.json, the
columns of `make table`, the report's groups and glossary, the summary of Weights & Biases and
docs/metrics.md are all read from here.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

Better = Literal["higher", "lower"]


class MetricGroup(StrEnum):
    """What a metric is about, in the order in which a report shows the groups."""

    REWARD = "Reward and judge"
    DIVERGENCE = "Divergence"
    DIVERSITY = "Diversity"
    TEST_PAIRS = "Test pairs"
    COMPLETIONS = "Completions"
    PUBLISHED = "Compared with published figures"


@dataclass(frozen=True)
class Metric:
    """One number that evaluation gives of a policy, with its interval over prompts."""

    name: str
    """Its key in results/evaluate/metrics.json."""
    group: MetricGroup
    unit: str
    meaning: str
    """One line for a reader of the report."""
    better: Better | None = None
    """Which way is better; None where neither is."""
    headline: bool = False
    """Whether it is one of the eight headline numbers, those of results/metrics.json."""
    in_overview: bool = False
    """Whether the report's first table of all rows shows it."""


ALL_METRICS = (
    Metric(
        "reward",
        MetricGroup.REWARD,
        "reward",
        "mean reward of the policy's samples of held-out prompts",
        better="higher",
        headline=True,
    ),
    Metric(
        "reward_reference",
        MetricGroup.REWARD,
        "reward",
        "mean reward of the reference's samples of the same prompts",
        headline=True,
    ),
    Metric(
        "reward_difference",
        MetricGroup.REWARD,
        "reward",
        "the policy's mean reward minus the reference's, paired by prompt",
        better="higher",
        in_overview=True,
    ),
    Metric(
        "reward_win_rate",
        MetricGroup.REWARD,
        "share of comparisons",
        "how often a sample of the policy has more reward than one of the reference for the same"
        " prompt; ties count half",
        better="higher",
        headline=True,
        in_overview=True,
    ),
    Metric(
        "judge",
        MetricGroup.REWARD,
        "judge's score",
        "mean score of the policy's samples by the judge, which nothing was trained on: a reward"
        " that rises while the judge falls is gamed",
        better="higher",
        headline=True,
    ),
    Metric(
        "judge_reference",
        MetricGroup.REWARD,
        "judge's score",
        "mean score of the reference's samples by the judge",
    ),
    Metric(
        "judge_difference",
        MetricGroup.REWARD,
        "judge's score",
        "the policy's mean score by the judge minus the reference's, paired by prompt",
        better="higher",
        in_overview=True,
    ),
    Metric(
        "judge_win_rate",
        MetricGroup.REWARD,
        "share of comparisons",
        "as `reward_win_rate`, by the judge's score",
        better="higher",
    ),
    Metric(
        "kl",
        MetricGroup.DIVERGENCE,
        "nats per completion",
        "KL(π‖π_ref): the exact next-token KL summed over each of the policy's samples",
        better="lower",
        headline=True,
        in_overview=True,
    ),
    Metric(
        "kl_monte_carlo",
        MetricGroup.DIVERGENCE,
        "nats per completion",
        "the same by the plain estimate log π(y|x) − log π_ref(y|x), which is noisier",
        better="lower",
    ),
    Metric(
        "forward_kl_token_sum",
        MetricGroup.DIVERGENCE,
        "nats per completion",
        "next-token KL(π_ref‖π) summed over the policy's samples; not the forward KL of whole"
        " completions, which needs the reference's samples",
        better="lower",
    ),
    Metric(
        "jsd_token_sum",
        MetricGroup.DIVERGENCE,
        "nats per completion",
        "next-token Jensen–Shannon divergence summed over the policy's samples; not that of whole"
        " completions",
        better="lower",
    ),
    Metric(
        "entropy",
        MetricGroup.DIVERSITY,
        "nats per token",
        "mean entropy of the policy's next-token distribution on its own samples",
        better="higher",
        headline=True,
        in_overview=True,
    ),
    Metric(
        "unigram_entropy",
        MetricGroup.DIVERSITY,
        "nats",
        "entropy of the distribution of all samples' tokens taken together; it grows with the"
        " number of tokens",
        better="higher",
    ),
    Metric(
        "distinct_1",
        MetricGroup.DIVERSITY,
        "share of tokens",
        "distinct tokens among the first `evaluate.distinct_budget` of the samples",
        better="higher",
    ),
    Metric(
        "distinct_2",
        MetricGroup.DIVERSITY,
        "share of bigrams",
        "distinct bigrams among the first `evaluate.distinct_budget` of the samples",
        better="higher",
        headline=True,
        in_overview=True,
    ),
    Metric(
        "self_bleu",
        MetricGroup.DIVERSITY,
        "BLEU, 0 to 1",
        "mean BLEU of each sample against the others of its prompt: 1 where all are the same",
        better="lower",
    ),
    Metric(
        "accuracy",
        MetricGroup.TEST_PAIRS,
        "share of pairs",
        "test pairs that the implicit reward β·g(ρ) orders as the reward did",
        better="higher",
        headline=True,
        in_overview=True,
    ),
    Metric(
        "margin",
        MetricGroup.TEST_PAIRS,
        "implicit reward",
        "mean of β·g(ρ) of the chosen completion minus that of the rejected one; its scale is the"
        " loss's own",
        better="higher",
    ),
    Metric(
        "calibration_error",
        MetricGroup.TEST_PAIRS,
        "probability",
        "how far the stated probability σ(margin) is from the share of pairs that came true, over"
        " ten bins; few pairs raise it",
        better="lower",
        in_overview=True,
    ),
    Metric(
        "chosen_logp_change",
        MetricGroup.TEST_PAIRS,
        "nats per completion",
        "mean of log π − log π_ref of the chosen completions: below 0 where training made even the"
        " preferred ones less likely (likelihood displacement)",
        better="higher",
    ),
    Metric(
        "rejected_logp_change",
        MetricGroup.TEST_PAIRS,
        "nats per completion",
        "mean of log π − log π_ref of the rejected completions",
        better="lower",
    ),
    Metric(
        "length",
        MetricGroup.COMPLETIONS,
        "tokens",
        "mean length of the policy's samples",
    ),
    Metric(
        "finished",
        MetricGroup.COMPLETIONS,
        "share of samples",
        "samples that end with end-of-text, before the length limit",
    ),
    Metric(
        "repeated_4grams",
        MetricGroup.COMPLETIONS,
        "share of 4-grams",
        "4-grams of a sample that occurred earlier in it: near 1 where the text loops",
        better="lower",
    ),
    Metric(
        "published_reward",
        MetricGroup.PUBLISHED,
        "reward",
        "mean reward of one sample per held-out prompt, decoded as the published figures were",
        better="higher",
    ),
    Metric(
        "published_reward_reference",
        MetricGroup.PUBLISHED,
        "reward",
        "the reference's mean reward, decoded in the same way",
    ),
    Metric(
        "unigram_entropy_reference",
        MetricGroup.PUBLISHED,
        "nats",
        "the reference's `unigram_entropy`, decoded in the same way",
    ),
)

METRIC_BY_NAME = {metric.name: metric for metric in ALL_METRICS}
HEADLINE_METRICS = tuple(metric for metric in ALL_METRICS if metric.headline)
OVERVIEW_METRICS = tuple(metric for metric in ALL_METRICS if metric.in_overview)


def metrics_of(group: MetricGroup) -> tuple[Metric, ...]:
    """The metrics of one group, in the order in which a report shows them."""
    return tuple(metric for metric in ALL_METRICS if metric.group == group)
