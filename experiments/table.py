"""The experiments of this repository as a table, best reward first: `dvc exp show`, cut to size."""

import subprocess
import sys

from fdpo.core import errors
from fdpo.evaluation.metric_registry import HEADLINE_METRICS

PARAM_COLUMNS = ("loss", "beta", "alpha", "lr", "seed")


def metric_columns() -> list[str]:
    """The headline metrics that tell one policy from another: not those of the reference."""
    return [metric.headline for metric in HEADLINE_METRICS if metric.headline and metric.better]


def command() -> list[str]:
    """`dvc exp show` with these columns alone; its patterns are anchored at the start only."""
    columns = "|".join(("Experiment", *PARAM_COLUMNS, *metric_columns()))
    return [
        *(sys.executable, "-m", "dvc", "exp", "show", "--no-pager"),
        *("--drop", ".*", "--keep", f"({columns})$"),
        *("--sort-by", "reward", "--sort-order", "desc"),
    ]


def main() -> None:
    """Print the table; DVC's exit code is this program's."""
    sys.exit(subprocess.run(command()).returncode)


if __name__ == "__main__":
    errors.run(main)
