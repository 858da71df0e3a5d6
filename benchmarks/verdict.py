"""Does the report's verdict hold its level and its power? It is simulated as it is computed.

    python -m benchmarks.verdict            # about 70 CPU-seconds

Each design draws reward at one KL for nine losses: a seed's own level, which all losses share, and
noise of each loss and seed. False alarms are draws of equal losses in which any pair is "ahead".
Power is the share of pairs with the most seeds that are found, when all of them differ by what
`smallest_found` states from another draw of the design.
"""

import argparse
from collections.abc import Sequence
from typing import cast

import numpy as np

from experiments.report.compare import ERROR, POWER, Scores, compare, omnibus, smallest_found

LOSSES = [f"loss {number}" for number in range(9)]
DRAWS, OMNIBUS_DRAWS = 2_000, 200
SEED_SPREAD, NOISE = 0.1, 0.05
# name: seeds per loss, noise per loss as a multiple of NOISE
DESIGNS: dict[str, tuple[Sequence[int], Sequence[float]]] = {
    "nine losses, 8 seeds": ([8] * 9, [1] * 9),
    "nine losses, 16 seeds": ([16] * 9, [1] * 9),
    "today's: five losses with 5 seeds, four with 3": ([5] * 5 + [3] * 4, [1] * 9),
    "the same, those with 3 twice as noisy": ([5] * 5 + [3] * 4, [1] * 5 + [2] * 4),
    "the same, one of them four times": ([5] * 5 + [3] * 4, [1] * 5 + [1] * 3 + [4]),
    "the same, one of those with 5 four times": ([5] * 5 + [3] * 4, [1] * 4 + [4] + [1] * 4),
    "8 seeds, one loss four times as noisy": ([8] * 9, [1] * 8 + [4]),
}


def draw(rng: np.random.Generator, seeds: Sequence[int], noise: Sequence[float]) -> Scores:
    """One sweep's rewards, of losses that are equal but for their noise."""
    levels = rng.normal(0, SEED_SPREAD, max(seeds))
    return {
        name: dict(enumerate(levels[:count] + rng.normal(0, NOISE * scale, count)))
        for name, count, scale in zip(LOSSES, seeds, noise, strict=True)
    }


def found(scores: Scores, size: float, seeds: int) -> float:
    """The share of pairs with so many seeds whose interval would leave out 0, were they apart."""
    apart = [
        pair.low + size > 0 or pair.high + size < 0
        for pair in compare(scores, None)
        if pair.seeds == seeds and pair.low is not None and pair.high is not None
    ]
    return float(np.mean(apart))


def main() -> None:
    """Print a line per design."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    rng = np.random.default_rng(1)
    print(f"{'design':50} any false ahead   omnibus   power (stated: {POWER:.0%})   at, on average")
    for name, (seeds, noise) in DESIGNS.items():
        alarms, tests, powers, sizes = 0, 0, [], []
        for _ in range(DRAWS):
            stated = cast(tuple, smallest_found(draw(rng, seeds, noise)))  # seeds are three or more
            scores = draw(rng, seeds, noise)
            alarms += any(pair.outcome == "ahead" for pair in compare(scores, None))
            powers.append(found(scores, *stated))
            sizes.append(stated[0])
        for number in range(OMNIBUS_DRAWS):
            tested = omnibus(draw(rng, seeds, noise), str(number))
            tests += tested is not None and tested[0] <= ERROR
        print(
            f"{name:50} {alarms / DRAWS:15.3f} {tests / OMNIBUS_DRAWS:9.3f} {np.mean(powers):9.3f}"
            f" {np.mean(sizes):21.3f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
