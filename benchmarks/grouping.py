"""A prompt's pairs in one step or anywhere: held-out reward, KL and test accuracy over seeds.

Either side takes as many pairs a step and as many steps. Reward is bought with KL, so neither says
much without the other.
"""

from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks.measure import ROOT, Row, Run, compared, note
from benchmarks.workspace import stage, workspace
from fdpo.files import read_json

SEEDS = (1, 2, 3)
METRICS = {
    "reward_difference": "reward, policy − reference",
    "kl": "KL(π‖π_ref), nats a completion",
    "accuracy": "share of test pairs",
}

Result = tuple[Run, dict[str, Any]]  # the train stage's cost, and evaluate's metrics


def rows(root: Path = ROOT) -> list[Row]:
    """Train and evaluate the embedded study with grouping and without it, for each seed.

    In these rows `ours` is grouped and `peer` is not. Metrics are no costs and have no ratio; their
    `rounds` hold grouped − ungrouped. A seed's row has its 95 % intervals over prompts, the mean's
    that of the difference over seeds.
    """
    grouped, ungrouped = [], []
    for seed in SEEDS:
        grouped.append(train_and_evaluate(root, seed, True))
        ungrouped.append(train_and_evaluate(root, seed, False))
    found = [
        compared(
            "train, grouped beside ungrouped",
            "CPU s",
            [run.cpu for run, _ in grouped],
            [run.cpu for run, _ in ungrouped],
        )
    ]
    for metric, unit in METRICS.items():
        sides = [[metrics[metric] for _, metrics in side] for side in (grouped, ungrouped)]
        by_seed = [
            of_seed(f"{metric}, seed {seed}", unit, ours, peer)
            for seed, ours, peer in zip(SEEDS, *sides, strict=True)
        ]
        found += [*by_seed, over_seeds(f"{metric}, mean of {len(SEEDS)} seeds", unit, by_seed)]
    return found


def train_and_evaluate(root: Path, seed: int, grouped: bool) -> Result:
    changes = {
        "study": "embedded",
        "seed": seed,
        "studies.embedded.train.group_by_prompt": grouped,
    }
    with workspace(root, changes) as folder:
        train = stage(folder, "train")
        stage(folder, "evaluate")
        metrics = read_json(folder / "results/evaluate/metrics.json")
    shown = ", ".join(f"{name} {metrics[name]['value']:.3f}" for name in METRICS)
    note(f"seed {seed}, {'grouped' if grouped else 'ungrouped'}: {shown}")
    return train, metrics


def of_seed(name: str, unit: str, ours: dict[str, float], peer: dict[str, float]) -> Row:
    return {
        "name": name,
        "ours": ours["value"],
        "peer": peer["value"],
        "ratio": None,
        "unit": unit,
        "rounds": [ours["value"] - peer["value"]],
        "ours_interval": [ours["low"], ours["high"]],
        "peer_interval": [peer["low"], peer["high"]],
    }


def over_seeds(name: str, unit: str, by_seed: list[Row]) -> Row:
    """Means, and Student's 95 % interval of the differences' mean."""
    from scipy.stats import sem, t  # large: memory of this process counts to those it starts

    differences = [difference for row in by_seed for difference in row["rounds"]]
    middle = mean(differences)
    width = float(t.ppf(0.975, len(differences) - 1) * sem(differences))
    return {
        "name": name,
        "ours": mean(row["ours"] for row in by_seed),
        "peer": mean(row["peer"] for row in by_seed),
        "ratio": None,
        "unit": unit,
        "rounds": differences,
        "difference_interval": [middle - width, middle + width],
    }
