"""Scaling: training on 1, 4 and 16 times the pairs, and pair and split on 600,000 completions."""

import json
import random
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.measure import ROOT, Row, Run, alone, alternate, module

PROMPTS = 40  # of six pairs each, before scaling
FACTORS = (1, 4, 16)
RECORDS = 100_000  # prompts of six completions for pair and split


def rows(rounds: int, small: bool = False) -> list[Row]:
    """Growth of time and memory with the pairs, then pair and split at full size."""
    return [
        *training(rounds, 4 if small else PROMPTS),
        *pair_and_split(rounds, 100 if small else RECORDS),
    ]


def training(rounds: int, prompts: int) -> list[Row]:
    """Train a tiny model on ever more pairs, one epoch each; the loop alone is timed."""
    with tempfile.TemporaryDirectory() as name:
        folders = {factor: Path(name, str(factor)) for factor in FACTORS}
        for factor, folder in folders.items():
            module("benchmarks.workload", "tiny-llama", "imdb-fifth", folder, str(prompts * factor))
        sides = {
            f"{factor}×": lambda folder=folder: module("benchmarks.train_ours", folder, "embedded")
            for factor, folder in folders.items()
        }
        runs = alternate(rounds, sides)
    found: list[Row] = []
    for name, measured in runs.items():
        reports = [run.report for run in measured]
        rates = [report["pairs"] / report["loop"]["cpu"] for report in reports]
        memory = [run.peak_mib for run in measured]
        found += [
            alone(f"train, tiny model, {name} the pairs", "pairs per CPU-second", rates),
            alone(f"train, tiny model, {name} the pairs: peak memory", "MiB", memory),
        ]
    largest, smallest = runs[f"{FACTORS[-1]}×"], runs[f"{FACTORS[0]}×"]
    return [*found, *growth(smallest, largest)]


def growth(smallest: list[Run], largest: list[Run]) -> list[Row]:
    """How many times the cost of the smallest the largest has, round by round."""
    rounds = list(zip(smallest, largest, strict=True))
    seconds = [b.report["loop"]["cpu"] / a.report["loop"]["cpu"] for a, b in rounds]
    title = f"train, tiny model, {FACTORS[-1]}× the pairs"
    return [
        alone(f"{title}: time", "times that of 1×", seconds),
        alone(f"{title}: memory", "times that of 1×", [b.peak_mib / a.peak_mib for a, b in rounds]),
    ]


def pair_and_split(rounds: int, prompts: int) -> list[Row]:
    """Run the two stages in turn on synthetic scores of six completions a prompt."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for name in ("params.yaml", "dvc.yaml"):
            shutil.copy(ROOT / name, folder)
        write_scores(folder / "data", prompts)
        runs = alternate(
            rounds,
            {stage: lambda stage=stage: module(f"stages.{stage}", cwd=folder) for stage in STAGES},
        )
    title = f"{{}}, {prompts:,} prompts × 6"
    found: list[Row] = []
    for stage, measured in runs.items():
        named = title.format(stage)
        found += [
            alone(named, "wall s", [run.wall for run in measured]),
            alone(f"{named}: peak memory", "MiB", [run.peak_mib for run in measured]),
        ]
    both = [sum(run.wall for run in one) for one in zip(*runs.values(), strict=True)]
    return [*found, alone(title.format("pair and split"), "wall s", both)]


STAGES = ("pair", "split")


def write_scores(folder: Path, prompts: int) -> None:
    """Write prompts.jsonl and scores.jsonl; completions have 24 ids, as the embedded study's."""
    folder.mkdir()
    with open(folder / "prompts.jsonl", "w") as texts, open(folder / "scores.jsonl", "w") as scores:
        for generation in generations(prompts):
            prompt = {key: generation[key] for key in ("id", "prompt", "role")}
            texts.write(json.dumps(prompt, separators=(",", ":")) + "\n")
            scores.write(json.dumps(generation, separators=(",", ":")) + "\n")


def generations(prompts: int) -> Iterator[dict[str, Any]]:
    draws = random.Random(1)  # noqa: S311 - no secret
    for number in range(prompts):
        completions = [
            {
                "text": " a completion of about as many letters as twenty-four tokens make,"
                " which is a hundred or so",
                "ids": [draws.randrange(49152) for _ in range(24)],
                "finished": False,
                "ref_logp": -draws.uniform(40, 90),
                "reward": draws.gauss(0, 1),
            }
            for _ in range(6)
        ]
        yield {
            "id": number,
            "prompt": f"Movie review: The {number} of this",
            "role": "train",
            "prompt_ids": [draws.randrange(49152) for _ in range(10)],
            "completions": completions,
        }
