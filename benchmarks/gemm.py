"""What the machine's matrix product reaches: `python -m benchmarks.gemm M K N`.

In float32 on the CPU, in bfloat16 on a GPU, as training runs on either.
"""

import json
import sys
import time

import torch

from benchmarks.clock import finish_on_gpu
from fdpo.core.device import device

SECONDS = 1.0  # a shape; enough for the best of tens of products


def gflops(rows: int, inner: int, columns: int) -> float:
    """The best of many products [rows, inner] · [inner, columns]."""
    dtype = torch.float32 if device().type == "cpu" else torch.bfloat16
    a = torch.randn(rows, inner, device=device(), dtype=dtype)
    b = torch.randn(inner, columns, device=device(), dtype=dtype)
    finish_on_gpu()
    best, end = float("inf"), time.perf_counter() + SECONDS
    while time.perf_counter() < end:
        start = time.perf_counter()
        a @ b
        finish_on_gpu()
        best = min(best, time.perf_counter() - start)
    return 2e-9 * rows * inner * columns / best


def main() -> None:
    """Print the peak, the larger of a square product and the model's own shape."""
    side = 1024 if device().type == "cpu" else 8192
    shapes = [(side, side, side), tuple(map(int, sys.argv[1:4]))]
    print(json.dumps({"gflops": max(gflops(*shape) for shape in shapes)}))


if __name__ == "__main__":
    main()
