"""Evaluate a ready adapter on the study's held-out prompts; nothing of the pipeline is written.

    python -m experiments.evaluate_adapter therem/gpt_imdb_jsd_beta1e-1 --loss jsd --beta 0.1

The pipeline must have come as far as `split` for the study in params.yaml. The loss with its β and
α matters to accuracy, margin and calibration alone; where not given it is that of params.yaml.
"""

import argparse
import re
import tempfile
from pathlib import Path

from fdpo.config.params import Params, check_params, load_params
from fdpo.core import errors
from fdpo.core.errors import UserError
from fdpo.core.randomness import streams_of
from fdpo.evaluation.evaluate_policy import evaluate_policy
from fdpo.evaluation.inputs import load_inputs
from fdpo.evaluation.metric_groups import MetricTable
from fdpo.evaluation.policy import load_policy
from fdpo.losses import LOSSES
from fdpo.sources import hub
from fdpo.sources.model_files import ADAPTER
from stages import paths

HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)


def main(arguments: list[str] | None = None) -> None:
    """Measure the adapter that the command line names, and print the metrics."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("adapter", help="a repository of the Hub, user/name, or a local folder")
    parser.add_argument("--revision", default="main", help="of the repository (default: main)")
    parser.add_argument("--loss", choices=LOSSES)
    parser.add_argument("--beta", type=float)
    parser.add_argument("--alpha", type=float)
    options = parser.parse_args(arguments)
    if not Path(options.adapter).is_dir() and not HUB_NAME.fullmatch(options.adapter):
        raise UserError(
            f"{options.adapter}: no folder here, and no name of the Hub, which is user/name;"
            " name one of them"
        )
    settings = trained_with(load_params(), options)
    with tempfile.TemporaryDirectory() as scratch:
        adapter = Path(options.adapter)
        if not adapter.is_dir():
            adapter = Path(scratch, "adapter")
            hub.fetch_model(options.adapter, options.revision, adapter, ADAPTER)
        table = measure(adapter, settings)
    print(f"{options.adapter}, as trained with {settings.loss}, beta {settings.beta:g}")
    for name, metric in sorted(table.items()):
        ends = "" if metric.low is None else f"[{metric.low:.4f}, {metric.high:.4f}]"
        print(f"  {name:28}{metric.value:10.4f}  {ends}")


def trained_with(settings: Params, options: argparse.Namespace) -> Params:
    """params.yaml with the loss, β and α of the command line."""
    names = ("loss", "beta", "alpha")
    given = {name: found for name in names if (found := getattr(options, name)) is not None}
    values = settings.model_dump(exclude_unset=True)
    study = values.pop("active")
    return check_params(values | given, study)


def measure(adapter: Path, settings: Params) -> MetricTable:
    """The metrics that the stage `evaluate` would write of the adapter."""
    heldout = settings.active.generate.heldout
    inputs = load_inputs(
        paths.REFERENCE_MODEL,
        paths.REWARD_MODEL,
        paths.JUDGE_MODEL,
        paths.SCORES,
        paths.TEST_PAIRS,
        heldout.max_new_tokens,
    )
    return evaluate_policy(
        load_policy(inputs.reference, adapter, "name another adapter"),
        inputs,
        settings.objective,
        heldout,
        settings.active.evaluate,
        streams_of(settings.seed),
    ).metrics


if __name__ == "__main__":
    errors.run(main)
