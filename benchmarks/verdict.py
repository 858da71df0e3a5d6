"""Does the report's verdict hold its level and its power? It is simulated as it is computed.

    python -m benchmarks.verdict            # half a minute

Each design draws reward at one KL for nine losses: a seed's own level, which all losses share, and
noise of each loss and seed. False alarms are draws of equal losses in which any pair is "ahead".
"""

import argparse
from collections.abc import Sequence
from itertools import combinations

import numpy as np

from experiments.report.compare import ERROR, POWER, Scores, compare, omnibus, power, smallest_found

LOSSES = [f"loss {number}" for number in range(9)]
PAIRS = len(list(combinations(LOSSES, 2)))
DRAWS = 2_000
SEED_SPREAD, NOISE = 0.1, 0.05
# name: seeds per loss, noise per loss as a multiple of NOISE
DESIGNS: dict[str, tuple[Sequence[int], Sequence[float]]] = {
    "nine losses, 8 seeds": ([8] * 9, [1] * 9),
    "nine losses, 16 seeds": ([16] * 9, [1] * 9),
    "today's: five losses with 5 seeds, four with 3": ([5] * 5 + [3] * 4, [1] * 9),
    "the same, those with 3 twice as noisy": ([5] * 5 + [3] * 4, [1] * 5 + [2] * 4),
    "the same, one of them four times": ([5] * 5 + [3] * 4, [1] * 5 + [1] * 3 + [4]),
    "8 seeds, one loss four times as noisy": ([8] * 9, [1] * 8 + [4]),
}


def draw(
    rng: np.random.Generator, seeds: Sequence[int], noise: Sequence[float], lead: float = 0.0
) -> Scores:
    """One sweep's rewards; the first loss is better by `lead`."""
    levels = rng.normal(0, SEED_SPREAD, max(seeds))
    return {
        name: {
            seed: levels[seed] + rng.normal(0, NOISE * scale) + (lead if name == LOSSES[0] else 0)
            for seed in range(count)
        }
        for name, count, scale in zip(LOSSES, seeds, noise, strict=True)
    }


def main() -> None:
    """Print a line per design."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    rng = np.random.default_rng(1)
    print(f"{'design':50} any false ahead   omnibus   found at the stated size ({POWER:.0%})")
    for name, (seeds, noise) in DESIGNS.items():
        alarms = tests = found = 0
        for _ in range(DRAWS):
            alarms += any(
                pair.outcome == "ahead" for pair in compare(draw(rng, seeds, noise), None)
            )
        for number in range(DRAWS // 10):
            tested = omnibus(draw(rng, seeds, noise), str(number))
            tests += tested is not None and tested[0] <= ERROR
        spread, count = NOISE * 2**0.5, max(seeds)
        size = next(
            step * spread / 50
            for step in range(1, 600)
            if power(step * spread / 50, spread, PAIRS, count) >= POWER
        )
        for _ in range(DRAWS):
            pair = next(iter(compare(draw(rng, seeds, noise, lead=size), None)))
            found += pair.leader == LOSSES[0]
        print(
            f"{name:50} {alarms / DRAWS:15.3f} {tests / (DRAWS // 10):9.3f} {found / DRAWS:8.3f}"
            f" at {size:.3f}",
            flush=True,
        )
    scores = draw(rng, *DESIGNS["nine losses, 8 seeds"])
    print("smallest_found of one draw with 8 seeds:", smallest_found(scores))


if __name__ == "__main__":
    main()
