"""Training: this project beside TRL's DPOTrainer, on the same pairs and the same tokens.

The loop is `trainer.train()` alone; a process is everything, from the start of Python. The
reference's log-probabilities are recorded at sampling in a study; here a pass over the distinct
sequences computes them, and rows "with the reference pass" count it. TRL runs the reference in its
loop, by disabling the adapter, or with `precompute_ref_log_probs` in a pass before it. It keeps all
activations, which is its fastest way, or checkpoints gradients, its default and its smallest.
"""

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from benchmarks.measure import Row, Run, alone, alternate, compared, module, note

TRL = "TRL"
FASTEST = {TRL: (), "TRL, precomputed reference": ("--precompute",)}
PEERS = {**FASTEST, "TRL, gradient checkpointing": ("--checkpoint",)}


@dataclass(frozen=True)
class Case:
    title: str
    model: str  # one of benchmarks.workload.MODELS, or `reference`: the study's, on its own pairs
    shape: str  # one of benchmarks.workload.SHAPES
    prompts: int
    tokens: int = 512  # tokens_per_forward
    pairs_at_a_time: int = 12  # of TRL's steps of 12: long ones would take 30 GB at once
    peers: Mapping[str, Sequence[str]] = field(default_factory=lambda: {TRL: ()})

    @property
    def study(self) -> str:
        """Whose adapter and learning rate both sides take."""
        return "imdb" if "gpt2" in self.model else "embedded"


LONG = "135M random weights, prompts of 512 tokens, completions of 256"
CASES = {
    "full": (
        Case("SmolLM2-135M, 4 prompts × 6 pairs", "reference", "recorded", 4, peers=FASTEST),
        Case("GPT-2 124M, IMDB-like lengths, 2 × 6 pairs", "gpt2", "imdb", 2, 1024),
        Case(f"{LONG}, 1 × 6 pairs", "llama-135m", "long-six", 1, 1024, 2),
        Case(f"{LONG}, 6 × 1 pair", "llama-135m", "long-one", 6, 1024, 2),
        Case(
            "135M random weights, 12 unshared pairs of 128", "llama-135m", "unshared", 12, 1024, 4
        ),
    ),
    "quick": (
        Case("SmolLM2-135M, 2 prompts × 6 pairs", "reference", "recorded", 2),
        Case("135M random weights, 128 + 64 tokens, 1 × 6 pairs", "llama-135m", "long-six-4th", 1),
        Case("135M random weights, 6 unshared pairs of 64", "llama-135m", "unshared-half", 6),
    ),
    "tiny": (
        Case("tiny GPT-2, IMDB-like lengths", "tiny-gpt2", "imdb-5th", 2, peers=PEERS),
        Case("tiny Llama, 2 × 6 pairs", "tiny-llama", "long-six-32nd", 2, 64),
        Case("tiny Llama, 4 unshared pairs", "tiny-llama", "unshared-16th", 4, 64, 4),
    ),
}


def rows(rounds: int, size: str) -> list[Row]:
    return [row for case in CASES[size] for row in rows_of(case, rounds)]


def rows_of(case: Case, rounds: int) -> Iterable[Row]:
    """Make a case's model and pairs, run all sides on them in turn, and compare."""
    note(case.title)
    gemm: list[Run] = []
    with tempfile.TemporaryDirectory() as folder:

        def fdpo() -> Run:
            ran = module("benchmarks.train_sides", "fdpo", *own, "--tokens", case.tokens)
            gemm.append(module("benchmarks.clock", *ran.report["gemm"]))
            return ran

        def trl(*options: str) -> Run:
            at_a_time = ("--pairs-at-a-time", case.pairs_at_a_time)
            return module("benchmarks.train_sides", "trl", *own, *at_a_time, *options)

        own = (folder, case.study)
        module("benchmarks.workload", folder, case.model, case.shape, case.prompts)
        peers = {name: partial(trl, *options) for name, options in case.peers.items()}
        runs = alternate(rounds, {"fdpo": fdpo, **peers})
    norms = {name: runs[name][0].report["grad_norm"] for name in ("fdpo", TRL)}
    note("gradient norm of the first step: " + ", ".join(f"{n} {v:.6g}" for n, v in norms.items()))
    for name in case.peers:
        yield from beside(f"{case.title}, beside {name}", runs["fdpo"], runs[name])
    yield from of_fdpo(case.title, runs["fdpo"], gemm)


def beside(title: str, fdpo: list[Run], trl: list[Run]) -> Iterable[Row]:
    """Rates of the loop, with and without the reference pass, and costs of the process."""
    pairs = fdpo[0].report["pairs"]

    def rates(runs: list[Run], *parts: str) -> list[float]:
        return [pairs / sum(run.report[part]["cpu"] for part in parts) for run in runs]

    for name, parts in {
        "loop": ("loop",),
        "loop with the reference pass": ("loop", "reference"),
    }.items():
        sides = rates(fdpo, *parts), rates(trl, *parts)
        yield compared(f"{title}: {name}", "pairs per CPU-second", *sides, rate=True)

    def costs(value) -> tuple[list[float], list[float]]:
        return [value(run) for run in fdpo], [value(run) for run in trl]

    yield compared(f"{title}: loop", "wall s", *costs(lambda run: run.report["loop"]["wall"]))
    yield compared(f"{title}: process", "CPU s", *costs(lambda run: run.cpu))
    yield compared(f"{title}: peak memory", "MiB", *costs(lambda run: run.peak_mib))
    if fdpo[0].report["gpu_mib"]:
        yield compared(f"{title}: GPU memory", "MiB", *costs(lambda run: run.report["gpu_mib"]))


def of_fdpo(title: str, fdpo: list[Run], gemm: list[Run]) -> Iterable[Row]:
    """The arithmetic that the mathematics needs per second, and the machine's own rate."""
    loops = [run.report for run in fdpo]
    reached = [1e-9 * report["flops"] / report["loop"]["wall"] for report in loops]
    peaks = [run.report["gflops"] for run in gemm]
    shares = [100 * a / b for a, b in zip(reached, peaks, strict=True)]
    yield alone(f"{title}: loop, necessary arithmetic", "GFLOP/s", reached)
    yield alone(f"{title}: peak of a matrix product", "GFLOP/s", peaks)
    yield alone(f"{title}: loop, share of that peak", "%", shares)


def on_gpu(size: str) -> Case:
    """GPT-2 with steps of 12 pairs, for benchmarks.gpu."""
    if size == "tiny":
        return replace(CASES["tiny"][0], title="tiny GPT-2 in bfloat16")
    title = "GPT-2 124M in bfloat16, IMDB-like lengths, 64 × 6 pairs"
    return Case(title, "gpt2", "imdb", 64, 8192, peers=PEERS)
