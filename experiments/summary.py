"""Three lines after a run: what rose and by how much, where to look, what to type next."""

import argparse
from collections.abc import Mapping
from typing import Any

from experiments.metrics_io import made_otherwise, read_metrics
from fdpo.config.params import load_params
from fdpo.core import errors
from stages import paths


def change(metrics: Mapping[str, Any], name: str) -> str | None:
    """How far a metric of the policy is from the reference's, and whether that is noise."""
    difference = metrics.get(f"{name}_difference")
    if difference is None:
        return None
    value, low, high = (difference[key] for key in ("value", "low", "high"))
    moved = f"{name} {'rose' if value > 0 else 'fell'} by {abs(value):.3f}"
    if low is None or high is None:
        return f"{moved} (no interval)"
    noise = ", within noise" if low <= 0 <= high else ""
    return f"{moved} (difference {low:+.3f} to {high:+.3f}{noise})"


def lines(metrics: Mapping[str, Any]) -> list[str]:
    """The three lines. Args: `metrics`, as in results/evaluate/metrics.json."""
    changes = [text for text in (change(metrics, name) for name in ("reward", "judge")) if text]
    return [
        f"Against the reference, {'; '.join(changes)}; KL {metrics['kl']['value']:.2f} nats.",
        f"All metrics: {paths.METRICS_WITH_INTERVALS}; samples: {paths.SAMPLES};"
        f" the policy: {paths.POLICY}.",
        "Next: `source .venv/bin/activate && dvc exp run -S loss=fkl -S beta=1`,"
        " then `make table`.",
    ]


def main() -> None:
    """Print the three lines of the last run."""
    print("\n" + "\n".join(lines(read_metrics())))
    if made_with := made_otherwise(load_params().trained_with):
        print(f"These are not of params.yaml but of {made_with}.")


if __name__ == "__main__":
    argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0]).parse_args()
    errors.run(main)
