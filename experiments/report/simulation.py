"""How often the report's verdict is wrong, on sweeps drawn from a known model.

    python -m experiments.report.simulation --draws 1000

A sweep has five losses at four strengths whose reward is √KL, plus a difference that is set, plus
normal noise of seeds, prompts and samples. Rewards are in standard deviations of the reference's
samples, which is about what a prompt and a sample together add.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import bootstrap, t

from experiments.report.analysis.matched import compare, sample_differences
from experiments.report.analysis.nested import SampleDifferences, resampled
from experiments.report.analysis.points import Point
from experiments.report.analysis.verdict import MARGIN, PairVerdict, decide
from experiments.sweep.results import HeldoutScores, RowResults
from fdpo.core import errors
from fdpo.core.randomness import streams_of
from fdpo.baselines.intervals import CONFIDENCE, Interval

STRENGTHS = (0.5, 1.0, 2.0, 4.0)  # KL in nats that each is about to give
PROMPTS, SAMPLES = 48, 4
TIMES = 500  # resamplings for an interval


@dataclass(frozen=True)
class Noise:
    """Standard deviations of what a seed, a prompt and a sample add to a loss's reward.

    `first` is how many times as noisy the first loss is.
    """

    seed: float = 0.05
    prompt: float = 0.4
    sample: float = 0.9
    first: float = 1.0


@dataclass(frozen=True)
class Tally:
    """Shares of draws, or of their pairs, with each outcome."""

    any_false_ahead: float
    """Draws in which a loss is called ahead of one that it is not ahead of."""
    found: float
    """Of pairs that differ, those whose better loss is called ahead."""
    equal_equivalent: float
    """Of pairs that do not differ, those called equivalent."""
    unequal_equivalent: float
    """Of pairs that differ by the margin or more, those called equivalent."""


def draw(
    offsets: Sequence[float], seeds: int, noise: Noise, rng: np.random.Generator
) -> dict[str, list[Point]]:
    """One sweep's points by loss; loss i earns `offsets[i]` more than √KL."""
    curves = {}
    for number, offset in enumerate(offsets):
        shape = (seeds, PROMPTS, SAMPLES)
        times = 1.0 if number else noise.first
        shared = rng.normal(0, noise.seed, (seeds, 1, 1))
        shared = shared + rng.normal(0, noise.prompt, (seeds, PROMPTS, 1))
        curves[f"loss {number}"] = [
            _point(
                f"loss {number}",
                strength,
                offset + times * (shared + rng.normal(0, noise.sample, shape)),
                strength * np.exp(rng.normal(0, 0.1, seeds)),
            )
            for strength in STRENGTHS
        ]
    return curves


def _point(curve: str, strength: float, noise: np.ndarray, kls: np.ndarray) -> Point:
    rows = {}
    for seed, (values, kl) in enumerate(zip(noise, kls, strict=True), start=1):
        rewards = values + kl**0.5
        rows[seed] = RowResults.model_construct(
            metrics={
                "kl": Interval(float(kl), None, None),
                "reward_difference": Interval(float(rewards.mean()), None, None),
            },
            heldout=HeldoutScores.model_construct(reward=rewards),
            reference=f"of seed {seed}",
        )
    return Point(curve, 1 / strength, f"{curve} {strength:g}", rows)


def tally(
    draws: int, offsets: Sequence[float], seeds: int, noise: Noise, rng: np.random.Generator
) -> Tally:
    """How the verdict does on so many sweeps."""
    order = {f"loss {number}": offset for number, offset in enumerate(offsets)}
    false_ahead = 0
    differ: list[PairVerdict] = []
    same: list[PairVerdict] = []
    for _ in range(draws):
        verdicts = decide(compare(draw(offsets, seeds, noise, rng)), MARGIN)
        false_ahead += any(
            order[verdict.leader] <= order[verdict.trailer]
            for verdict in verdicts
            if verdict.leader and verdict.trailer
        )
        for verdict in verdicts:
            apart = order[verdict.pair.first] != order[verdict.pair.second]
            (differ if apart else same).append(verdict)
    return Tally(
        false_ahead / draws,
        _share(differ, "ahead"),
        _share(same, "equivalent"),
        _share(differ, "equivalent"),
    )


def _share(verdicts: Sequence[PairVerdict], outcome: str) -> float:
    return float(np.mean([v.outcome == outcome for v in verdicts])) if verdicts else float("nan")


Ends = tuple[float, float]


def means(samples: SampleDifferences) -> np.ndarray:
    """The difference in each seed, [seeds]."""
    return np.array([values.mean() for values in samples])


def students(samples: SampleDifferences, _: np.random.Generator) -> Ends:
    """Student's interval over the seeds' differences."""
    values = means(samples)
    reach = t.ppf((1 + CONFIDENCE) / 2, len(values) - 1) * values.std(ddof=1) / len(values) ** 0.5
    return float(values.mean() - reach), float(values.mean() + reach)


def hierarchical(samples: SampleDifferences, rng: np.random.Generator) -> Ends:
    """Percentiles of seeds, their prompts and their samples drawn again."""
    interval = resampled(samples, rng, TIMES)
    if interval is None or interval.low is None or interval.high is None:
        raise ValueError("the draw has no samples")
    return interval.low, interval.high


def seeds_alone(samples: SampleDifferences, rng: np.random.Generator) -> Ends:
    """Percentiles of seeds drawn again, their differences as they are."""
    interval = bootstrap(
        (means(samples),),
        np.mean,
        n_resamples=TIMES,
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=rng,
    ).confidence_interval
    return float(interval.low), float(interval.high)


def bootstrap_t(samples: SampleDifferences, rng: np.random.Generator) -> Ends:
    """The bootstrap-t over seeds; a resampling of one seed alone has no t and is left out."""
    values = means(samples)
    count = len(values)
    again = values[rng.integers(count, size=(TIMES, count))]
    spread = again.std(axis=1, ddof=1)
    kept = spread > 1e-12
    ratios = (again.mean(axis=1)[kept] - values.mean()) / (spread[kept] / count**0.5)
    low, high = np.quantile(ratios, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    error = values.std(ddof=1) / count**0.5
    return float(values.mean() - high * error), float(values.mean() - low * error)


INTERVALS: dict[str, Callable[[SampleDifferences, np.random.Generator], Ends]] = {
    "Student over seeds": students,
    "hierarchical percentiles": hierarchical,
    "percentiles of seeds": seeds_alone,
    "bootstrap-t over seeds": bootstrap_t,
}


def coverage(draws: int, seeds: int, noise: Noise, rng: np.random.Generator) -> dict[str, float]:
    """How often each 95 % interval of the difference of two equal losses holds 0."""
    hits = dict.fromkeys(INTERVALS, 0)
    for _ in range(draws):
        curves = draw((0.0, 0.0), seeds, noise, rng)
        (pair,) = compare(curves)
        samples = sample_differences(curves, pair)
        if samples is None:
            raise ValueError("the draw's losses have no range of KL in common")
        for name, interval in INTERVALS.items():
            low, high = interval(samples, rng)
            hits[name] += low <= 0 <= high
    return {name: count / draws for name, count in hits.items()}


# What the first loss is ahead by, and how many times as noisy as the others it is.
SCENARIOS = ((0.0, 1.0), (0.0, 2.0), (MARGIN, 1.0), (MARGIN, 2.0), (0.2, 1.0))


def main() -> None:
    """Print the error rates of the verdict and the coverage of intervals."""
    parser = argparse.ArgumentParser(prog="python -m experiments.report.simulation")
    parser.add_argument("--draws", type=int, default=1000)
    draws = parser.parse_args().draws
    if draws < 1:
        parser.error(f"--draws {draws}: must be at least 1")
    streams = streams_of(0)
    print(f"{draws} sweeps each; rewards in standard deviations of the reference's")
    print(
        "\n| one loss is ahead by | its noise | seeds | a false ahead | difference found | equal"
        f" pairs called equivalent | unequal pairs called equivalent |\n{'|---' * 7}|"
    )
    for ahead, times in SCENARIOS:
        for seeds in (3, 5):
            rng = streams("tally", seeds, str(ahead), str(times))
            result = tally(draws, (ahead, 0, 0, 0, 0), seeds, Noise(first=times), rng)
            shares = (
                result.any_false_ahead,
                result.found,
                result.equal_equivalent,
                result.unequal_equivalent,
            )
            cells = ("–" if np.isnan(share) else f"{share:.3f}" for share in shares)
            print(f"| {ahead:g} | ×{times:g} | {seeds} | {' | '.join(cells)} |", flush=True)
    print(f"\n| 95 % interval of a difference | {' | '.join(INTERVALS)} |")
    print(f"|---|{'---|' * len(INTERVALS)}")
    for seed_noise in (0.0, 0.05, 0.2):
        for seeds in (3, 5):
            rng = streams("coverage", seeds, str(seed_noise))
            held = coverage(draws, seeds, Noise(seed=seed_noise), rng)
            cells = (f"{share:.3f}" for share in held.values())
            label = f"{seeds} seeds, noise of seeds {seed_noise:g}"
            print(f"| {label} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    errors.run(main)
