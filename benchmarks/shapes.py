"""The embedded study's shape: what prompts, pairs, epochs and learning rate buy per CPU-second.

Each shape is trained and evaluated at two strengths for every seed, on the same completions and the
same held-out prompts. Reward is bought with KL, about in proportion to its root (Gao et al., arXiv
2210.10760), so shapes are compared by reward over √KL, the mean of both strengths. They are also
compared at one KL: the reward there is interpolated, and a seed that doesn't bracket it has none.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks.measure import ROOT, Row, alone, note
from benchmarks.workspace import stage, workspace
from fdpo.core.files import read_json
from stages import paths

SEEDS = (1, 2, 3)
BETAS = (0.1, 0.5)
COMPARED_KL = 2.5  # nats per completion
SIX_RANKS = [[1, 4], [1, 5], [1, 6], [2, 6], [3, 6], [4, 6]]
BEST_AND_WORST = [[1, 6]]
METRICS = {
    "reward_difference": "reward, policy − reference",
    "judge_difference": "judge, policy − reference",
    "kl": "KL(π‖π_ref), nats per completion",
    "accuracy": "share of test pairs",
}


@dataclass(frozen=True)
class Shape:
    """What of the study differs. A fifth of `prompts` gives test pairs only."""

    name: str
    prompts: int
    ranks: list[list[int]]
    epochs: int
    lr: float
    pairs_per_step: int = 12

    def changes(self, seed: int, beta: float) -> dict[str, Any]:
        """Values of params.yaml by their dotted names."""
        return {
            "study": "embedded",
            "seed": seed,
            "loss": "sigmoid",
            "beta": beta,
            "lr": self.lr,
            "studies.embedded.prepare.train_prompts": self.prompts,
            "studies.embedded.pair.ranks": self.ranks,
            "studies.embedded.split.test_size": 0.2,
            "studies.embedded.train.epochs": self.epochs,
            "studies.embedded.train.pairs_per_step": self.pairs_per_step,
        }


SHAPES = (
    Shape("32 prompts, six pairs each, 2 epochs, lr 0.002", 40, SIX_RANKS, 2, 0.002),
    Shape("64 prompts, best and worst, 2 epochs, lr 0.004", 80, BEST_AND_WORST, 2, 0.004),
    Shape("128 prompts, best and worst, 1 epoch, lr 0.004", 160, BEST_AND_WORST, 1, 0.004),
    Shape(
        "128 prompts, best and worst, 1 epoch, lr 0.004, 8 per step",
        160,
        BEST_AND_WORST,
        1,
        0.004,
        8,
    ),
    Shape("128 prompts, best and worst, 2 epochs, lr 0.002", 160, BEST_AND_WORST, 2, 0.002),
)


def rows(root: Path = ROOT) -> list[Row]:
    """Costs and metrics of every shape; a row's `rounds` hold one value per seed."""
    found: dict[tuple[str, str, str], list[float]] = {}
    for seed in SEEDS:
        with generated(root, seed, max(shape.prompts for shape in SHAPES)) as folder:
            for shape in SHAPES:
                for name, unit, value in of_seed(folder, shape, seed):
                    found.setdefault((shape.name, name, unit), []).append(value)
    return [
        alone(f"{shape}: {name}", unit, values) for (shape, name, unit), values in found.items()
    ]


@contextmanager
def generated(root: Path, seed: int, prompts: int) -> Iterator[Path]:
    """A workspace with a seed's scored completions of so many training prompts."""
    changes = {
        "study": "embedded",
        "seed": seed,
        "studies.embedded.prepare.train_prompts": prompts,
    }
    with workspace(root, changes) as folder:
        for name in ("check", "prepare", "generate", "score", "pair", "split"):
            stage(folder, name)
        note(f"seed {seed}: {prompts} prompts' completions are there")
        yield folder


def of_seed(folder: Path, shape: Shape, seed: int) -> Iterator[tuple[str, str, float]]:
    """What one seed of a shape gives: name, unit, value."""
    points = []
    for beta in BETAS:
        cpu, metrics = train_and_evaluate(folder, shape, seed, beta)
        yield f"train and evaluate at β {beta:g}", "CPU s", cpu
        for name, unit in METRICS.items():
            yield f"{name} at β {beta:g}", unit, metrics[name]["value"]
        points.append((metrics["kl"]["value"], metrics["reward_difference"]["value"], cpu))
    quality = mean(reward / kl**0.5 for kl, reward, _ in points)
    yield "reward_difference over √KL", "reward per root of a nat", quality
    cost = mean(cpu for _, _, cpu in points)
    yield "the same per 100 CPU s", "reward per root of a nat", 100 * quality / cost
    (high, most, _), (low, least, _) = points
    if low < COMPARED_KL < high:
        share = (COMPARED_KL - low) / (high - low)
        reward = least + share * (most - least)
        yield f"reward_difference at KL {COMPARED_KL:g}", METRICS["reward_difference"], reward


def train_and_evaluate(
    folder: Path, shape: Shape, seed: int, beta: float
) -> tuple[float, dict[str, Any]]:
    """CPU-seconds of train and evaluate, and evaluate's metrics."""
    with workspace(folder, shape.changes(seed, beta)) as place:
        keep_prompts(place, shape.prompts)
        for name in ("pair", "split"):
            stage(place, name)
        cpu = sum(stage(place, name).cpu for name in ("train", "evaluate"))
        metrics = read_json(place / paths.METRICS_WITH_INTERVALS)
    shown = ", ".join(f"{name} {metrics[name]['value']:.3f}" for name in METRICS)
    note(f"seed {seed}, {shape.name}, β {beta:g}: {cpu:.0f} CPU s, {shown}")
    return cpu, metrics


def keep_prompts(folder: Path, count: int) -> None:
    """Keep the first `count` training prompts, and all held-out ones, in the workspace's data."""
    prompts = [json.loads(line) for line in (folder / paths.PROMPTS).open(encoding="utf-8")]
    train = [prompt["id"] for prompt in prompts if prompt["role"] == "train"][:count]
    kept = {*train, *(prompt["id"] for prompt in prompts if prompt["role"] != "train")}
    for path in (paths.PROMPTS, paths.GENERATIONS, paths.SCORES):
        lines = (folder / path).read_text(encoding="utf-8").splitlines(keepends=True)
        (folder / path).unlink()  # a link to the data of all
        text = "".join(line for line in lines if json.loads(line)["id"] in kept)
        (folder / path).write_text(text, encoding="utf-8")
