"""Differences of single samples, within prompts, within seeds: resampled, their variance split."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fdpo.baselines.intervals import CONFIDENCE, Interval

SampleDifferences = Sequence[np.ndarray]  # of each seed: [prompts, samples]
RESAMPLINGS = 2000


@dataclass(frozen=True)
class VarianceParts:
    """What seeds, prompts and samples add to the variance of a difference's mean."""

    seed: float
    prompt: float
    sample: float

    @property
    def total(self) -> float:
        """The variance of the mean."""
        return self.seed + self.prompt + self.sample


def variance_parts(samples: SampleDifferences) -> VarianceParts | None:
    """The parts of the variance of the mean over seeds, prompts and samples.

    Method of moments of a balanced nested design with random seeds, prompts within a seed and
    samples within a prompt; a part that comes out below 0 is 0. None unless there are two or more
    of each, as many in every seed.
    """
    if len({values.shape for values in samples}) != 1:
        return None
    values = np.array(samples)
    seeds, prompts, draws = values.shape
    if min(seeds, prompts, draws) < 2:
        return None
    of_prompts = values.mean(axis=2)
    sample = float(values.var(axis=2, ddof=1).mean())
    between_prompts = float(of_prompts.var(axis=1, ddof=1).mean())
    between_seeds = float(of_prompts.mean(axis=1).var(ddof=1))
    prompt = max(between_prompts - sample / draws, 0.0)
    seed = max(between_seeds - between_prompts / prompts, 0.0)
    return VarianceParts(
        seed=seed / seeds,
        prompt=prompt / (seeds * prompts),
        sample=sample / (seeds * prompts * draws),
    )


def pooled_parts(parts: Sequence[VarianceParts]) -> VarianceParts | None:
    """The mean of each part over pairs of losses."""
    if not parts:
        return None
    return VarianceParts(
        *(float(np.mean([getattr(one, n) for one in parts])) for n in ("seed", "prompt", "sample"))
    )


def resampled(
    samples: SampleDifferences, rng: np.random.Generator, times: int = RESAMPLINGS
) -> Interval | None:
    """The mean with the 95 % interval of hierarchical resampling.

    Seeds are drawn with replacement, within each its prompts, within each prompt its samples (the
    bootstrap percentiles of Miller, arXiv 2411.00640, one level further). None unless every seed
    has as many prompts and samples.
    """
    if len({values.shape for values in samples}) != 1:
        return None
    values = np.array(samples)
    seeds, prompts, draws = values.shape
    s = rng.integers(seeds, size=(times, seeds, 1, 1))
    p = rng.integers(prompts, size=(times, seeds, prompts, 1))
    d = rng.integers(draws, size=(times, seeds, prompts, draws))
    means = values[s, p, d].mean(axis=(1, 2, 3))
    low, high = np.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Interval(value=float(values.mean()), low=float(low), high=float(high))
