"""docs/metrics.md, written from the metrics that fdpo/evaluation/metrics.yaml declares.

python -m experiments.metrics_page
"""

import argparse
from collections.abc import Iterable
from pathlib import Path

from fdpo.core import errors
from fdpo.core.files import replacing
from fdpo.evaluation.metric_registry import (
    HEADLINE_METRICS,
    Metric,
    MetricGroup,
    metrics_of,
)
from fdpo.training.curves import LOGGED_CURVES, STEP_CURVES, TEST_PAIR_CURVES

PAGE = Path("docs/metrics.md")
BEGINNING = """<!-- Written by `python -m experiments.metrics_page`; change the metrics in
fdpo/evaluation/metrics.yaml instead. -->
# Metrics

The stage `evaluate` samples the policy on held-out prompts at temperature 1 and measures it beside
the reference's samples of the same prompts.

- `results/metrics.json` holds the eight headline numbers, which `make table` and `dvc exp show`
  rank experiments by.
- `results/evaluate/metrics.json` holds every metric with its 95 % interval.
- `results/evaluate/samples.jsonl` holds the texts.
- `results/baselines.json` holds what the reference reaches without training, at lower temperatures
  and as the best of n samples ([its fields](data-formats.md#resultsbaselinesjson)).

## The eight headline numbers
"""
CURVES_BEGINNING = """## Training curves

The stage `train` writes them with DVCLive, and to Weights & Biases where it is on: over a step's
pairs every `log_every` steps, and over all test pairs before, during and after training where
`train.eval_every` is set. The names are TRL's, but for `eval_loss_capped`, `eval_loss_median` and
`eval_loss_fell`; in Weights & Biases they are those of a run of TRL there, so that both share a
chart. DVCLive's files lie in `results/train/plots/metrics`, and `dvc plots show` draws the main
ones.
"""
ENDING = """## Intervals

Intervals are over prompts, since completions of one prompt resemble each other. Means have
Student's; shares from 0 to 1 have Wilson's, with as many draws as the spread between prompts
implies, so they stay in [0, 1]. For unigram entropy and what is measured on pairs the spread is
that of subsamples of prompts, for distinct-n a jackknife's. What they hold, in 95 of 100 cases, is
the metric's expectation with as much data as here; `python -m benchmarks.coverage
--data-sets 1000` found it held in 92.8 to 96.2 % by kind, each ± 0.7; least for the calibration
error of overconfident policies.
Where nearly all prompts have one value, as of `length` at a limit, the interval of a
mean is too short. With a single prompt there is none.

Divergences and entropy come from plain temperature-1 samples only, because samples with
top-k or a temperature are not draws from the policy.
"""


def page() -> str:
    """The whole page as Markdown."""
    headline = _table("metric", HEADLINE_METRICS)
    groups = "".join(
        f"## {group}\n\n{_table('metric', metrics_of(group))}\n" for group in MetricGroup
    )
    return f"{BEGINNING}\n{headline}\n{groups}{CURVES_BEGINNING}\n{_curves()}\n{ENDING}"


def _table(first_column: str, metrics: Iterable[Metric]) -> str:
    lines = [f"| {first_column} | unit | better | meaning |", "|---|---|---|---|"]
    for metric in metrics:
        meaning = metric.meaning.replace("|", "\\|")  # else it would end the cell
        better = metric.better or "–"
        lines.append(f"| `{metric.name}` | {metric.unit} | {better} | {meaning} |")
    return "\n".join(lines) + "\n"


def _curves() -> str:
    meanings = STEP_CURVES | {f"eval_{name}": text for name, text in TEST_PAIR_CURVES.items()}
    lines = ["| TRL logs | DVCLive's file | in W&B | meaning |", "|---|---|---|---|"]
    for trl, curve in LOGGED_CURVES.items():
        lines.append(f"| `{trl}` | `{curve}.tsv` | `{curve}` | {meanings[trl]} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write docs/metrics.md."""
    PAGE.parent.mkdir(exist_ok=True)
    with replacing(PAGE) as scratch:
        scratch.write_text(page(), encoding="utf-8")
    print(f"{PAGE}: written")


if __name__ == "__main__":
    argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0]).parse_args()
    errors.run(main)
