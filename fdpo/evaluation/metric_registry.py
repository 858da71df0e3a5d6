"""Every metric of a policy, as metrics.yaml declares it: what it is called, and what it means.

Evaluation measures them (fdpo.evaluation.metric_groups). The headline of results/metrics.json, the
columns of `make table`, the report's groups and glossary, the summary of Weights & Biases and
docs/metrics.md are all read from here.
"""

from enum import StrEnum
from pathlib import Path
from typing import Literal

from fdpo.config.yaml_files import read_yaml
from fdpo.core.validation import Strict


class MetricGroup(StrEnum):
    """What a metric is about, in the order in which a report shows the groups."""

    REWARD = "Reward and judge"
    DIVERGENCE = "Divergence"
    DIVERSITY = "Diversity"
    TEST_PAIRS = "Test pairs"
    COMPLETIONS = "Completions"
    PUBLISHED = "Compared with published figures"


class Metric(Strict):
    """One number that evaluation gives of a policy, with its interval over prompts."""

    name: str  # its key in results/evaluate/metrics.json
    group: MetricGroup
    unit: str
    meaning: str  # one line for a reader of the report
    better: Literal["higher", "lower"] | None = None  # None where neither is
    headline: bool = False  # whether it is one of the eight numbers of results/metrics.json
    in_overview: bool = False  # whether the report's first table of all rows shows it


ALL_METRICS = tuple(
    Metric(name=name, group=MetricGroup(group), **fields)
    for group, metrics in read_yaml(Path(__file__).with_name("metrics.yaml")).items()
    for name, fields in metrics.items()
)
HEADLINE_METRICS = tuple(metric for metric in ALL_METRICS if metric.headline)
OVERVIEW_METRICS = tuple(metric for metric in ALL_METRICS if metric.in_overview)


def metrics_of(group: MetricGroup) -> tuple[Metric, ...]:
    """The metrics of one group, in the order in which a report shows them."""
    return tuple(metric for metric in ALL_METRICS if metric.group == group)
