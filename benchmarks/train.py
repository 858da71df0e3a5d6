"""Training: ours beside TRL's DPOTrainer, on the same pairs and the same tokens.

The loop is `trainer.train()` alone; a process is everything, from the start of Python. Ours reads
reference log-probabilities that sampling recorded; here a pass over the distinct sequences
computes them, and rows "with the reference pass" count it. TRL runs the reference in its loop, by
disabling the adapter, or with `precompute_ref_log_probs` in a pass of its own. It keeps all
activations, which is its fastest way, or checkpoints gradients, its default and its smallest.
"""

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.measure import Row, Run, alone, alternate, compared, module, note

RECORDED = "recorded"  # the shape that is the embedded study's own pairs
TRL = "TRL"
PRECOMPUTED = "TRL, precomputed reference"
CHECKPOINTED = "TRL, gradient checkpointing"
LIGER = "TRL, Liger's kernels"
PEERS = {TRL: (), PRECOMPUTED: ("--precompute",), CHECKPOINTED: ("--checkpoint",)}
FASTEST = {name: PEERS[name] for name in (TRL, PRECOMPUTED)}


@dataclass(frozen=True)
class Case:
    title: str
    model: str  # a name that benchmarks.workload knows
    shape: str  # of the pairs, another such name
    study: str  # whose settings of params.yaml both sides follow
    prompts: int
    tokens: int | None = None  # in place of the study's tokens_per_forward
    peers: Mapping[str, Sequence[str]] = field(default_factory=lambda: PEERS)  # their options
    peer_pairs: int | None = None  # of a step, at a time: with all of them TRL would need 30 GB


LONG = "135M random weights, prompts of 512 tokens and 4 completions of 256"
CASES = {
    "train": (
        Case("SmolLM2-135M, 8 prompts × 6 pairs", "smollm2", RECORDED, "embedded", 8),
        Case(
            "GPT-2 124M, IMDB-like lengths, 2 prompts × 6 pairs", "gpt2", "imdb", "imdb", prompts=2
        ),
    ),
    "lengths": (
        Case(
            f"{LONG}, a prompt × 6 pairs",
            "llama-135m",
            "long-six",
            "embedded",
            prompts=1,
            tokens=2048,
            peer_pairs=2,
        ),
        Case(
            f"{LONG}, 6 prompts × 1 pair",
            "llama-135m",
            "long-one",
            "embedded",
            prompts=6,
            tokens=2048,
            peers=FASTEST,
            peer_pairs=2,
        ),
        Case(
            "135M random weights, 12 pairs that share nothing, prompts and completions of 128",
            "llama-135m",
            "unshared",
            "embedded",
            prompts=12,
            tokens=2048,
            peers=FASTEST,
            peer_pairs=4,
        ),
    ),
}
# A step of each shape, on fewer and shorter texts, beside TRL at its fastest.
QUICK = {
    "train": (Case("SmolLM2-135M, 2 prompts × 6 pairs", "smollm2", RECORDED, "embedded", 2),),
    "lengths": (
        Case(
            "135M random weights, a prompt of 128 tokens and 4 completions of 64, 6 pairs",
            "llama-135m",
            "long-six-quarter",
            "embedded",
            1,
            peers=FASTEST,
        ),
        Case(
            "135M random weights, 6 pairs that share nothing, prompts and completions of 64",
            "llama-135m",
            "unshared-half",
            "embedded",
            6,
            peers=FASTEST,
        ),
    ),
}
SMALL = {
    "train": (
        Case("tiny Llama", "tiny-llama", "imdb-fifth", "embedded", 2),
        Case("tiny GPT-2", "tiny-gpt2", "imdb-fifth", "imdb", 2),
    ),
    "lengths": (
        Case("tiny Llama, long-six", "tiny-llama", "long-six-tiny", "embedded", 2, 64),
        Case("tiny Llama, long-one", "tiny-llama", "long-one-tiny", "embedded", 2, 64),
        Case("tiny Llama, unshared", "tiny-llama", "unshared-tiny", "embedded", 4, 64),
    ),
}


def rows(rounds: int, cases: Iterable[Case]) -> list[Row]:
    """Measure every case; its peers' rows and ours alone."""
    found: list[Row] = []
    for case in cases:
        note(case.title)
        runs = of_case(case, rounds)
        for peer in case.peers:
            found += beside(f"{case.title}, beside {peer}", runs["ours"], runs[peer])
        found += of_ours(case.title, runs["ours"], runs["GEMM"])
    return found


def of_case(case: Case, rounds: int) -> dict[str, list[Run]]:
    """Make a case's model and pairs, and measure both sides on them."""
    with tempfile.TemporaryDirectory() as folder:
        module("benchmarks.workload", case.model, case.shape, folder, str(case.prompts))
        return measured(Path(folder), case, rounds)


def measured(folder: Path, case: Case, rounds: int) -> dict[str, list[Run]]:
    """Ours, the peers and the matrix product in turn, each a process of its own."""
    arguments = (folder, case.study)
    tokens = () if case.tokens is None else (str(case.tokens),)
    at_a_time = () if case.peer_pairs is None else ("--pairs-at-a-time", str(case.peer_pairs))
    shape: list[str] = []

    def ours() -> Run:
        run = module("benchmarks.train_ours", *arguments, *tokens)
        shape[:] = map(str, run.report["gemm"])
        return run

    runs = alternate(
        rounds,
        {
            "ours": ours,
            **{
                peer: lambda options=options: module(
                    "benchmarks.trl_peer", *arguments, *at_a_time, *options
                )
                for peer, options in case.peers.items()
            },
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
    on_gpu = [[run.report["gpu_mib"] for run in side] for side in (ours, peer)]
    gpu_rows = [compared(f"{title}: peak GPU memory", "MiB", *on_gpu)] if on_gpu[0][0] else []
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
        *gpu_rows,
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
