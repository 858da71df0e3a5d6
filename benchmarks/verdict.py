"""Does the report's verdict hold its level and its power? It is simulated as it is computed.

    python -m benchmarks.verdict            # about 70 CPU-seconds
    python -m benchmarks.verdict fair       # what more seeds of a sweep would find

Each design draws reward at one KL for nine losses: a seed's own level, which all losses share, and
noise of each loss and seed. False alarms are draws of equal losses in which any pair is "ahead".
Power is the share of pairs with the most seeds that are found, when all of them differ by what
`smallest_found` states from another draw of the design.

Of a sweep, losses are drawn with the covariance over seeds that its own rows have at the KL of its
verdict, and the difference is that which 80 % of the intervals of all pairs would find.
"""

import argparse
from collections.abc import Sequence
from typing import cast

import numpy as np

from experiments.report.compare import (
    ERROR,
    POWER,
    Omnibus,
    Scores,
    common_block,
    compare,
    omnibus,
    smallest_found,
)
from experiments.report.evidence import gather
from experiments.report.points import SEEDS_FOR_SPREAD
from experiments.sweep.results import load_rows
from fdpo.core import errors
from fdpo.core.errors import UserError

LOSSES = [f"loss {number}" for number in range(9)]
DRAWS, OMNIBUS_DRAWS = 2_000, 200
SEEDS = (8, 12, 16)  # that a sweep may have, besides its own
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


def found_by(scores: Scores, seeds: int, rng: np.random.Generator) -> tuple[float, int, int]:
    """The difference that is found with 80 % power, the losses, and the seeds their spread is of.

    Raises `UserError` where no two losses have three seeds in common.
    """
    if (measured := common_block(scores)) is None:
        raise UserError(f"no two losses have {SEEDS_FOR_SPREAD} seeds in common")
    names, table = measured
    covariance = np.cov(table.T)
    lows = []
    for _ in range(DRAWS):
        drawn = rng.multivariate_normal(np.zeros(len(names)), covariance, seeds).T
        sweep = {name: dict(enumerate(values)) for name, values in zip(names, drawn, strict=True)}
        lows += [cast(float, pair.low) for pair in compare(sweep, None)]
    return float(-np.quantile(lows, 1 - POWER)), len(names), len(table)


def main() -> None:
    """Print a line per design, or per number of seeds of a sweep."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.verdict", description=__doc__)
    parser.add_argument("sweep", nargs="?", help="a sweep that has results")
    rng = np.random.default_rng(1)
    if name := parser.parse_args().sweep:
        if (level := gather(load_rows(name)).primary) is None:
            raise UserError(f"{name}: no two losses reach a common KL")
        for seeds in sorted({max(map(len, level.scores.values())), *SEEDS}):
            size, losses, measured = found_by(level.scores, seeds, rng)
            print(
                f"{name} at a {level.at}: {losses} losses with {seeds} seeds find {size:.3f} with"
                f" {POWER:.0%} power, by the spread over {measured} seeds"
            )
        return
    columns = f"any false ahead   omnibus  by signs   power (stated: {POWER:.0%})   at, on average"
    print(f"{'design':50} {columns}")
    for name, (seeds, noise) in DESIGNS.items():
        alarms, powers, sizes, tests = 0, [], [], []
        for _ in range(DRAWS):
            stated = cast(tuple, smallest_found(draw(rng, seeds, noise)))  # seeds are three or more
            scores = draw(rng, seeds, noise)
            alarms += any(pair.outcome == "ahead" for pair in compare(scores, None))
            powers.append(found(scores, *stated))
            sizes.append(stated[0])
        for number in range(OMNIBUS_DRAWS):
            tests.append(cast(Omnibus, omnibus(draw(rng, seeds, noise), str(number)))[:2])
        by_labels, by_signs = (np.array(tests) <= ERROR).mean(axis=0)
        print(
            f"{name:50} {alarms / DRAWS:15.3f} {by_labels:9.3f} {by_signs:9.3f}"
            f" {np.mean(powers):7.3f} {np.mean(sizes):21.3f}",
            flush=True,
        )


if __name__ == "__main__":
    errors.run(main)
