"""Decoding with a GPT-2 of 124 million random weights: 32 prompts × 6 completions × 64 tokens.

Plain sampling beside Transformers' `generate` (one padded batch) and `generate_batch` (continuous
batching); diverse beam search beside the group beams of Transformers 4.49, the last release that
has them, one prompt at a time, as its batches change a prompt's beams. Those need an environment:

    python3.11 -m venv /tmp/transformers-4.49
    /tmp/transformers-4.49/bin/pip install torch==2.13.0 transformers==4.49.0 "numpy<2.3"
    python -m benchmarks decoding --transformers-4-49 /tmp/transformers-4.49/bin/python
"""

from collections.abc import Callable, Iterable

from benchmarks.measure import Row, Run, alternate, compared, module, note, run

# Prompts, tokens of a completion, layers of the model.
SIZES = {"full": (32, 64, 12), "quick": (8, 32, 12), "tiny": (2, 4, 1)}


def rows(rounds: int, size: str, transformers_4_49: str | None = None) -> list[Row]:
    sizes = SIZES[size]
    found = [*beside("sampling", rounds, {name: side(name, sizes) for name in SAMPLING})]
    if transformers_4_49 is None:
        note("diverse beams left out: they need --transformers-4-49, see benchmarks/decoding.py")
        return found
    command = [transformers_4_49, "-m", "benchmarks.group_beams", *map(str, sizes)]
    beams = {"fdpo-beams": side("fdpo-beams", sizes), "Transformers 4.49": lambda: run(command)}
    return [*found, *beside("diverse beams", rounds, beams)]


SAMPLING = ("fdpo", "generate", "generate-batch")


def side(name: str, sizes: tuple[int, ...]) -> Callable[[], Run]:
    """A call that measures one side of benchmarks/decoding_sides.py in a process of its own."""
    return lambda: module("benchmarks.decoding_sides", name, *sizes)


def beside(title: str, rounds: int, sides: dict[str, Callable[[], Run]]) -> Iterable[Row]:
    """Rates and memory of the first side beside each of the others."""
    (_, fdpo), *others = alternate(rounds, sides).items()
    units = {"rate": "tokens per CPU-second", "wall_rate": "tokens/s", "peak_mib": "MiB"}
    for name, other in others:
        for key, unit in units.items():
            values = ([run.report[key] for run in side] for side in (fdpo, other))
            yield compared(f"{title}, beside {name}", unit, *values, rate=key != "peak_mib")
