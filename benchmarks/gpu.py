"""On a GPU: does it compute what the CPU does, and how fast beside TRL and Transformers?

First float32 results are compared with the CPU's, within the bounds below; a difference beyond them
ends the benchmark. Then GPT-2 of 124 million random weights trains beside TRL and samples beside
Transformers, in bfloat16.
"""

import sys
import tempfile

from benchmarks import decoding, train
from benchmarks.measure import Row, alone, module, note, run
from fdpo.core.errors import UserError

# How far a GPU's float32 may be from the CPU's: sums in another order round differently.
BOUNDS = {"nats_per_token": 1e-4, "gradient": 1e-3}


def rows(rounds: int, size: str) -> list[Row]:
    """All rows, each with the GPU's name; none where there is no GPU, unless it is tried."""
    code = "import torch; print(torch.cuda.get_device_name() if torch.cuda.is_available() else '')"
    name = run([sys.executable, "-c", code]).output.strip()
    if not name and size != "tiny":
        note("left out: there is no GPU that PyTorch can use here (torch.cuda.is_available())")
        return []
    found = [
        *equality(size),
        *train.rows_of(train.on_gpu(size), rounds),
        *decoding.rows(rounds, size),
    ]
    return [{**row, "gpu": name} for row in found]


def equality(size: str) -> list[Row]:
    """How far float32 results are from the CPU's. Raises `UserError` when beyond `BOUNDS`."""
    model, shape = ("tiny-gpt2", "imdb-5th") if size == "tiny" else ("gpt2", "imdb")
    with tempfile.TemporaryDirectory() as folder:
        module("benchmarks.workload", folder, model, shape, 2)
        distances = module("benchmarks.gpu_equality", folder).report
    require_within_bounds(distances)
    units = {"nats_per_token": "nats per token at most", "gradient": "relative distance"}
    return [
        alone(f"float32 beside the CPU's, {name}", units[name], [distances[name]])
        for name in BOUNDS
    ]


def require_within_bounds(distances: dict[str, float]) -> None:
    """Raise `UserError` when a distance is beyond its bound, or NaN."""
    for name, bound in BOUNDS.items():
        if not distances[name] <= bound:
            raise UserError(
                f"gpu: float32 {name} differs from the CPU's by {distances[name]:.2g}, more than"
                f" {bound:g}; compare drivers and versions before using this GPU"
            )
