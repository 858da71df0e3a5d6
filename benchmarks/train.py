"""Training: ours beside TRL's DPOTrainer, on the same pairs and the same tokens.

The loop is `trainer.train()` alone; a process is everything, from the start of Python. Ours reads
reference log-probabilities that sampling recorded; here a pass over the distinct sequences
computes them, and rows "with the reference pass" count it. TRL runs the reference in its loop, by
disabling the adapter, or with `precompute_ref_log_probs` in a pass of its own. It keeps all
activations, which is its fastest way, or checkpoints gradients, its default and its smallest.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measure import Row, Run, alone, alternate, compared, module, note

TRL = "TRL"
PRECOMPUTED = "TRL, precomputed reference"
CHECKPOINTED = "TRL, gradient checkpointing"


@dataclass(frozen=True)
class Case:
    title: str
    workload: str  # a name that benchmarks.workload knows
    study: str  # whose settings of params.yaml both sides follow
    prompts: int  # six pairs each


CASES = (
    Case("SmolLM2-135M, 8 prompts × 6 pairs", "smollm2", "embedded", 8),
    Case("GPT-2 124M, IMDB-like lengths, 2 prompts × 6 pairs", "gpt2", "imdb", 2),
)
SMALL = (
    Case("tiny Llama", "tiny-llama", "embedded", 2),
    Case("tiny GPT-2", "tiny-gpt2", "imdb", 2),
)


def rows(rounds: int, small: bool = False) -> list[Row]:
    """Measure every case; its peers' rows and ours alone."""
    found: list[Row] = []
    for case in SMALL if small else CASES:
        note(case.title)
        with tempfile.TemporaryDirectory() as folder:
            module("benchmarks.workload", case.workload, folder, str(case.prompts))
            runs = measured(Path(folder), case.study, rounds)
        for peer in (TRL, PRECOMPUTED, CHECKPOINTED):
            found += beside(f"{case.title}, beside {peer}", runs["ours"], runs[peer])
        found += of_ours(case.title, runs["ours"], runs["GEMM"])
    return found


def measured(folder: Path, study: str, rounds: int) -> dict[str, list[Run]]:
    """Ours, the peers and the matrix product in turn, each a process of its own."""
    arguments = (folder, study)
    shape: list[str] = []

    def ours() -> Run:
        run = module("benchmarks.train_ours", *arguments)
        shape[:] = map(str, run.report["gemm"])
        return run

    runs = alternate(
        rounds,
        {
            "ours": ours,
            TRL: lambda: module("benchmarks.trl_peer", *arguments),
            PRECOMPUTED: lambda: module("benchmarks.trl_peer", *arguments, "--precompute"),
            CHECKPOINTED: lambda: module("benchmarks.trl_peer", *arguments, "--checkpoint"),
            "GEMM": lambda: module("benchmarks.gemm", *shape),
        },
    )
    if runs["ours"][0].report["steps"] == 1:  # all pairs at once: no order can differ
        norms = {name: runs[name][0].report["grad_norm"] for name in ("ours", TRL)}
        note("gradient norm of the step: " + ", ".join(f"{n} {v:.6g}" for n, v in norms.items()))
    return runs


def seconds(runs: list[Run], clock: str, *parts: str) -> list[float]:
    return [sum(run.report[part][clock] for part in parts) for run in runs]


def beside(title: str, ours: list[Run], peer: list[Run]) -> list[Row]:
    pairs = ours[0].report["pairs"]

    def per_cpu_second(runs: list[Run], *parts: str) -> list[float]:
        return [pairs / spent for spent in seconds(runs, "cpu", *parts)]

    whole = ("loop", "reference")
    rate = "pairs per CPU-second"
    return [
        compared(
            f"{title}: loop", rate, per_cpu_second(ours, "loop"), per_cpu_second(peer, "loop"), True
        ),
        compared(
            f"{title}: loop with the reference pass",
            rate,
            per_cpu_second(ours, *whole),
            per_cpu_second(peer, *whole),
            True,
        ),
        compared(
            f"{title}: loop", "wall s", seconds(ours, "wall", "loop"), seconds(peer, "wall", "loop")
        ),
        compared(
            f"{title}: process", "CPU s", [run.cpu for run in ours], [run.cpu for run in peer]
        ),
        compared(
            f"{title}: process", "wall s", [run.wall for run in ours], [run.wall for run in peer]
        ),
        compared(
            f"{title}: peak memory",
            "MiB",
            [run.peak_mib for run in ours],
            [run.peak_mib for run in peer],
        ),
    ]


def of_ours(title: str, ours: list[Run], gemm: list[Run]) -> list[Row]:
    """Rates by the wall clock, and the arithmetic needed a second over what GEMM reaches."""
    loop = seconds(ours, "wall", "loop")
    reports = [run.report for run in ours]
    peak = [run.report["gflops"] for run in gemm]
    reached = [1e-9 * r["flops"] / s for r, s in zip(reports, loop, strict=True)]
    shares = [100 * a / b for a, b in zip(reached, peak, strict=True)]

    def a_second(count: str) -> list[float]:
        return [report[count] / spent for report, spent in zip(reports, loop, strict=True)]

    return [
        alone(f"{title}: loop", "pairs/s", a_second("pairs")),
        alone(f"{title}: loop", "distinct tokens/s", a_second("tokens")),
        alone(f"{title}: loop", "GFLOP/s that the mathematics needs", reached),
        alone(f"{title}: peak of a matrix product", "GFLOP/s", peak),
        alone(f"{title}: loop, share of that peak", "%", shares),
    ]
