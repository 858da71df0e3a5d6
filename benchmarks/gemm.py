"""What the machine's matrix product reaches, in float32: `python -m benchmarks.gemm M K N`."""

import json
import sys
import time

import torch

SECONDS = 1.0  # a shape; enough for the best of tens of products


def gflops(rows: int, inner: int, columns: int) -> float:
    """The best of many products [rows, inner] · [inner, columns]."""
    a, b = torch.randn(rows, inner), torch.randn(inner, columns)
    best, end = float("inf"), time.perf_counter() + SECONDS
    while time.perf_counter() < end:
        start = time.perf_counter()
        a @ b
        best = min(best, time.perf_counter() - start)
    return 2e-9 * rows * inner * columns / best


def main() -> None:
    """Print the peak, the larger of a square product and the model's own shape."""
    shapes = [(1024, 1024, 1024), tuple(map(int, sys.argv[1:4]))]
    print(json.dumps({"gflops": max(gflops(*shape) for shape in shapes)}))


if __name__ == "__main__":
    main()
