"""The one declaration of every metric, against what evaluation gave and what is written of it."""

import json
from pathlib import Path

from experiments import metrics_page
from fdpo.evaluation.metric_registry import ALL_METRICS, HEADLINE_METRICS, MetricGroup, metrics_of

ROOT = Path(__file__).parents[2]


def test_names_are_unique_and_every_group_has_metrics():
    assert len({metric.name for metric in ALL_METRICS}) == len(ALL_METRICS)
    assert all(metrics_of(group) for group in MetricGroup)


def test_the_committed_results_have_declared_metrics_alone():
    measured = json.loads((ROOT / "results/evaluate/metrics.json").read_text())
    assert set(measured) <= {metric.name for metric in ALL_METRICS}
    headline = json.loads((ROOT / "results/metrics.json").read_text())
    assert headline == {
        metric.name: round(measured[metric.name]["value"], 4) for metric in HEADLINE_METRICS
    }
    assert len(headline) == 8


def test_the_page_of_metrics_is_current():
    written = (ROOT / metrics_page.PAGE).read_text(encoding="utf-8")
    assert written == metrics_page.page(), "run `python -m experiments.metrics_page`"
