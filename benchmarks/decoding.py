"""Sampling from a GPT-2 of 124 million random weights: 32 prompts × 6 completions × 32 tokens.

Beside Transformers' `generate` (one batch, padded on the left) and `generate_batch` (continuous
batching), from the model's own distribution; no token ends a completion.
"""

from collections.abc import Iterator

from benchmarks.measure import Row, alternate, compared, module

# Prompts, tokens of a completion, layers of the model.
SIZES = {"full": (32, 32, 12), "quick": (8, 32, 12), "tiny": (2, 4, 1)}
OTHERS = ("generate", "generate_batch")


def rows(rounds: int, size: str) -> Iterator[Row]:
    runs = alternate(
        rounds,
        {
            side: lambda side=side: module("benchmarks.decoding_sides", side, *SIZES[size])
            for side in ("fdpo", *OTHERS)
        },
    )
    for other in OTHERS:
        reports = [[run.report for run in runs[side]] for side in ("fdpo", other)]
        for clock, unit in (("cpu", "tokens per CPU-second"), ("wall", "tokens/s")):
            rates = ([report["tokens"] / report[clock] for report in side] for side in reports)
            yield compared(f"beside {other}", unit, *rates, rate=True)
        memory = ([run.peak_mib for run in runs[side]] for side in ("fdpo", other))
        yield compared(f"beside {other}: peak memory", "MiB", *memory)
        if reports[0][0]["gpu_mib"]:
            on_gpu = ([report["gpu_mib"] for report in side] for side in reports)
            yield compared(f"beside {other}: GPU memory", "MiB", *on_gpu)
