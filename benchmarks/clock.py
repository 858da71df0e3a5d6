"""Seconds that a block of code takes, a GPU's memory, and what a matrix product reaches."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from fdpo.core.device import device

GEMM_SECONDS = 1.0  # for each shape; enough for the best of tens of products


@contextmanager
def timing() -> Iterator[Callable[[], dict[str, float]]]:
    """Time the block; afterwards the call gives its seconds, a GPU's work included."""
    finish_on_gpu()
    start = time.process_time(), time.perf_counter()
    spent: dict[str, float] = {}
    yield lambda: spent
    finish_on_gpu()
    spent |= {"cpu": time.process_time() - start[0], "wall": time.perf_counter() - start[1]}


def finish_on_gpu() -> None:
    """Wait until a GPU has done all its queued work."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def peak_gpu_mib() -> float:
    """The most memory of a GPU that tensors took at once; 0 without a GPU."""
    return torch.cuda.max_memory_allocated() / 2**20 if torch.cuda.is_available() else 0.0


def gflops(rows: int, inner: int, columns: int) -> float:
    """The machine's peak, in 1e9 operations per second: a large square product, or this shape.

    In float32 on the CPU, in bfloat16 on a GPU, as training runs on either.
    """
    side = 1024 if device().type == "cpu" else 8192
    return max(_product(side, side, side), _product(rows, inner, columns))


def _product(rows: int, inner: int, columns: int) -> float:
    dtype = torch.float32 if device().type == "cpu" else torch.bfloat16
    a = torch.randn(rows, inner, device=device(), dtype=dtype)
    b = torch.randn(inner, columns, device=device(), dtype=dtype)
    best, end = float("inf"), time.perf_counter() + GEMM_SECONDS
    while time.perf_counter() < end:
        with timing() as spent:
            a @ b
        best = min(best, spent()["wall"])
    return 2e-9 * rows * inner * columns / best
