"""On a GPU: is it right, and how fast is it beside TRL and Transformers?

First float32 results are compared with the CPU's, within the bounds below; a difference beyond them
ends the benchmark. Then GPT-2 of 124 million random weights trains in bfloat16 beside TRL (with
Liger's kernels too, where they are installed), samples beside Transformers' `generate`, and goes
through the stages in the imdb study's shape, but for `prepare`, which downloads.
"""

import importlib.util
import sys
import tempfile
from pathlib import Path

from benchmarks import train
from benchmarks.measure import Row, alone, alternate, compared, machine, module, note, run
from benchmarks.train import Case
from benchmarks.workspace import timed_stage
from fdpo.core.errors import UserError

# How far a GPU's float32 may be from the CPU's: sums in another order round differently.
BOUNDS = {"nats_per_token": 1e-4, "gradient": 1e-3}
STAGES = ("generate", "score", "pair", "split", "train", "evaluate")


def gpu_name() -> str | None:
    """The GPU's name, or None; asked in another process, as this one imports no torch."""
    code = "import torch; print(torch.cuda.get_device_name() if torch.cuda.is_available() else '')"
    return run([sys.executable, "-c", code]).output.strip() or None


def rows(rounds: int, small: bool = False) -> list[Row]:
    """All rows, each with the GPU's name; none where there is no GPU, which is said."""
    name = gpu_name()
    if name is None and not small:
        note("left out: there is no GPU that PyTorch can use here (torch.cuda.is_available())")
        return []
    found = [
        *equality(small),
        *training(rounds, small),
        *sampling(rounds, small),
        *study(small),
    ]
    return [{**row, "machine": f"{name}, {machine()}"} for row in found]


def equality(small: bool) -> list[Row]:
    """How far float32 results are from the CPU's. Raises `UserError` when beyond `BOUNDS`."""
    model, shape = ("tiny-gpt2", "imdb-fifth") if small else ("gpt2", "imdb")
    with tempfile.TemporaryDirectory() as folder:
        module("benchmarks.workload", model, shape, folder, "2")
        apart = module("benchmarks.gpu_equality", folder).report
    require_within_bounds(apart)
    return [
        alone(
            "float32, beside the CPU's: log-probability",
            "nats per token at most",
            [apart["nats_per_token"]],
        ),
        alone("float32, beside the CPU's: gradient", "relative distance", [apart["gradient"]]),
    ]


def require_within_bounds(apart: dict[str, float]) -> None:
    """Raise `UserError` when a distance is beyond its bound, or NaN."""
    for name, bound in BOUNDS.items():
        if not apart[name] <= bound:
            raise UserError(
                f"gpu: float32 {name} differs from the CPU's by {apart[name]:.2g}, more than"
                f" {bound:g}; compare drivers and versions before using this GPU"
            )


def training(rounds: int, small: bool) -> list[Row]:
    """In bfloat16 beside TRL: steps of 12 pairs."""
    peers = dict(train.PEERS)
    if importlib.util.find_spec("liger_kernel"):
        peers[train.LIGER] = ("--liger",)
    case = (
        Case("tiny GPT-2", "tiny-gpt2", "imdb-fifth", "imdb", 2, peers=peers)
        if small
        else Case(
            "GPT-2 124M, IMDB-like lengths, 64 prompts × 6 pairs",
            "gpt2",
            "imdb",
            "imdb",
            64,
            peers=peers,
        )
    )
    return train.rows(rounds, [case])


def sampling(rounds: int, small: bool) -> list[Row]:
    """Plain sampling beside Transformers' `generate`, one batch."""
    model, *sizes = ("tiny-gpt2", 2, 2, 3) if small else ("gpt2", 32, 6, 256)
    with tempfile.TemporaryDirectory() as folder:
        module("benchmarks.workload", model, "imdb-fifth", folder, "1")
        sides = {
            side: lambda side=side: module(
                "benchmarks.gpu_sampling", side, folder, *map(str, sizes)
            )
            for side in ("ours", "peer")
        }
        runs = alternate(rounds, sides)
    title = "sampling, {} prompts × {} × {} tokens".format(*sizes)
    rates, memory = (
        [[run.report[key] for run in side] for side in runs.values()] for key in ("rate", "gpu_mib")
    )
    found = [compared(title, "tokens/s", *rates, rate=True)]
    if memory[0][0]:
        found.append(compared(f"{title}: peak GPU memory", "MiB", *memory))
    return found


def study(small: bool) -> list[Row]:
    """The stages in the imdb study's shape, once: wall seconds and the GPU's peak of each."""
    sizes = ("8", "4", "small") if small else ("600", "50")
    found = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        module("benchmarks.gpu_study", folder, *sizes)
        for stage in STAGES:
            measured, parts, gpu_mib = timed_stage(folder, stage)
            note(f"{stage}: {measured.wall:.1f} s")
            found.append(alone(f"imdb's shape, {stage}", "wall s", [measured.wall]))
            found += [
                alone(f"imdb's shape, {stage}: {part}", "wall s", [seconds])
                for part, seconds in parts.items()
            ]
            if gpu_mib:
                title = f"imdb's shape, {stage}: peak GPU memory"
                found.append(alone(title, "MiB", [gpu_mib]))
    return found
