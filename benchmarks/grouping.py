"""A prompt's pairs in one step or anywhere: held-out reward, KL and test accuracy over seeds.

Either side takes as many pairs a step and as many steps. Reward is bought with KL, and how much of
it a learning rate buys depends on what a step sees, so each side runs at two learning rates and
their rewards are compared at equal KL too.
"""

from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks.measure import ROOT, Row, Run, compared, note
from benchmarks.shapes import SIX_RANKS, keep_prompts
from benchmarks.workspace import stage, workspace
from fdpo.core.files import read_json
from stages import paths

SEEDS = (1, 2, 3)
METRICS = {
    "reward_difference": "reward, policy − reference",
    "kl": "KL(π‖π_ref), nats a completion",
    "accuracy": "share of test pairs",
}
# A prompt needs several pairs to group, so the six ranks of the `imdb` study give them.
PROMPTS = 40  # a fifth of them to test
LR = 0.002
# What multiplies it. Twice as high, grouped steps go about as far as the others.
GROUPED, UNGROUPED = (1, 2), (0.5, 1)
COMPARED = ((1, 1), (1, 0.5), (2, 1))  # grouped beside ungrouped

Result = tuple[Run, dict[str, Any]]  # the train stage's cost, and evaluate's metrics
Results = dict[float, list[Result]]  # a result a seed, by what the learning rate is multiplied with


def rows(root: Path = ROOT) -> list[Row]:
    """Train and evaluate the embedded study with grouping and without it, for each seed.

    In these rows `ours` is grouped and `peer` is not. Metrics are no costs and have no ratio; their
    `rounds` hold grouped − ungrouped. A seed's row has its 95 % intervals over prompts, the mean's
    that of the difference over seeds.
    """
    grouped: Results = {factor: [] for factor in GROUPED}
    ungrouped: Results = {factor: [] for factor in UNGROUPED}
    for seed in SEEDS:
        for factor in GROUPED:
            grouped[factor].append(train_and_evaluate(root, seed, True, factor))
        for factor in UNGROUPED:
            ungrouped[factor].append(train_and_evaluate(root, seed, False, factor))
    costs = [[run.cpu for run, _ in side[1]] for side in (grouped, ungrouped)]
    found = [compared("train, grouped beside ungrouped", "CPU s", *costs)]
    for ours, peer in COMPARED:
        for metric, unit in METRICS.items():
            name = f"{metric} at {ours:g} and {peer:g} times the learning rate"
            sides = [[m[metric] for _, m in side] for side in (grouped[ours], ungrouped[peer])]
            values = zip(SEEDS, *sides, strict=True)
            found += with_mean(
                name, unit, [of_seed(f"{name}, seed {seed}", unit, *both) for seed, *both in values]
            )
    return found + at_equal_kl(grouped, ungrouped)


def train_and_evaluate(root: Path, seed: int, grouped: bool, factor: float) -> Result:
    changes = {
        "study": "embedded",
        "seed": seed,
        "lr": factor * LR,
        "studies.embedded.pair.ranks": SIX_RANKS,
        "studies.embedded.split.test_size": 0.2,
        "studies.embedded.train.epochs": 2,
        "studies.embedded.train.pairs_per_step": 12,
        "studies.embedded.train.group_by_prompt": grouped,
    }
    with workspace(root, changes) as folder:
        keep_prompts(folder, PROMPTS)
        for name in ("pair", "split"):
            stage(folder, name)
        train = stage(folder, "train")
        stage(folder, "evaluate")
        metrics = read_json(folder / paths.METRICS_WITH_INTERVALS)
    shown = ", ".join(f"{name} {metrics[name]['value']:.3f}" for name in METRICS)
    side = "grouped" if grouped else "ungrouped"
    note(f"seed {seed}, {side}, {factor:g} times the learning rate: {shown}")
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


def with_mean(name: str, unit: str, by_seed: Sequence[Row]) -> list[Row]:
    """The rows, and one of their means with Student's 95 % interval of the differences' mean."""
    # Large, and memory of this process counts to those it starts.
    from experiments.report.analysis.estimates import over_seeds

    from fdpo.baselines.intervals import Interval

    differences = [difference for row in by_seed for difference in row["rounds"]]
    parts = [Interval(value=difference, low=None, high=None) for difference in differences]
    estimate = over_seeds(parts)
    total = {
        "name": f"{name}, mean of {len(by_seed)} seeds",
        "ours": mean(row["ours"] for row in by_seed),
        "peer": mean(row["peer"] for row in by_seed),
        "ratio": None,
        "unit": unit,
        "rounds": differences,
        "difference_interval": [estimate.low, estimate.high],
    }
    return [*by_seed, total]


def at_equal_kl(grouped: Results, ungrouped: Results) -> list[Row]:
    """Rewards as functions of KL, over the range of KL that both reach in a seed.

    No rows where they have no range in common in some seed.
    """
    unit = METRICS["reward_difference"]
    found = []
    for index, seed in enumerate(SEEDS):
        curves = [[of[index][1] for of in side.values()] for side in (grouped, ungrouped)]
        row = over_kl(seed, unit, *curves)
        if row is None:
            return []
        found.append(row)
    return with_mean("reward_difference at equal KL", unit, found)


def over_kl(seed: int, unit: str, ours: Sequence[dict], peer: Sequence[dict]) -> Row | None:
    """One seed's rewards, interpolated over KL between learning rates and averaged."""
    from experiments.report.analysis.matched import range_weights

    kls = [[metrics["kl"]["value"] for metrics in side] for side in (ours, peer)]
    low, high = max(map(min, kls)), min(map(max, kls))
    if low > high:
        return None
    rewards = [
        float(range_weights(places, low, high) @ [m["reward_difference"]["value"] for m in side])
        for places, side in zip(kls, (ours, peer), strict=True)
    ]
    return {
        "name": f"reward_difference at KL {low:.1f} to {high:.1f}, seed {seed}",
        "ours": rewards[0],
        "peer": rewards[1],
        "ratio": None,
        "unit": unit,
        "rounds": [rewards[0] - rewards[1]],
    }
