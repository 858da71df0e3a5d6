"""Seconds that a block of code takes, and a GPU's memory."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch


@contextmanager
def timing() -> Iterator[Callable[[], dict[str, float]]]:
    """Within, nothing; after it, the call gives the seconds it took, a GPU's work included."""
    finish_on_gpu()
    start = time.process_time(), time.perf_counter()
    spent: dict[str, float] = {}
    yield lambda: spent
    finish_on_gpu()
    spent |= {"cpu": time.process_time() - start[0], "wall": time.perf_counter() - start[1]}


def finish_on_gpu() -> None:
    """Wait until a GPU has done all that it was given."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def peak_gpu_mib() -> float:
    """The most memory of a GPU that tensors took at once; 0 without a GPU."""
    return torch.cuda.max_memory_allocated() / 2**20 if torch.cuda.is_available() else 0.0
