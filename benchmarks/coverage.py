"""How often each kind of reported interval holds the truth, over simulated data sets.

python -m benchmarks.coverage --data-sets 1000

A data set is 48 prompts with four samples of 20 tokens each, as in the default study, and 197 test
pairs. The truth is a number's mean over all data sets, since plug-in entropy, distinct-n and
calibration error depend on the amount of data. 1,000 data sets give coverage within 1.4 points.
"""

import argparse
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor

import numpy as np

from fdpo.baselines.distinct import distinct_interval
from fdpo.baselines.intervals import Interval, mean_interval, statistic_interval
from fdpo.core.randomness import stream
from fdpo.evaluation.metrics.diversity import unigram_entropy
from fdpo.evaluation.metrics.preferences import accuracy, calibration_error

PROMPTS, SAMPLES, TOKENS, BUDGET, PAIRS, VOCABULARY = 48, 4, 20, 2000, 197, 3000


def data_set(rng: np.random.Generator) -> Iterator[tuple[str, Interval]]:
    """The intervals of one simulated data set, by what they are of."""
    size = (PROMPTS, SAMPLES)
    of_prompt = rng.normal(size=(PROMPTS, 1))  # completions of a prompt resemble each other
    yield "mean, normal (reward)", mean_interval((of_prompt + rng.normal(size=size)).mean(axis=1))
    gamma = rng.gamma(4, np.exp(of_prompt / 4), size)
    yield "mean, skewed (KL)", mean_interval(gamma.mean(axis=1))
    for name, base in (("0.9", 2.7), ("0.6", 0.5), ("0.05", -3.6)):
        won = rng.random(size) < 1 / (1 + np.exp(-base - of_prompt))
        yield f"mean of shares near {name}", mean_interval(won.mean(axis=1), share=True)
    for name, exponent in (("varied", 1.2), ("dull", 1.6)):
        frequent = (rng.zipf(exponent, (*size, TOKENS)) - 1) % VOCABULARY
        topic = rng.integers(VOCABULARY, size=(PROMPTS, 1, 1)) + rng.integers(
            15, size=frequent.shape
        )
        tokens = np.where(rng.random(frequent.shape) < 0.25, topic % VOCABULARY, frequent)
        ids, by_prompt = tokens.tolist(), tokens.reshape(PROMPTS, -1)
        yield f"distinct-1, {name}", distinct_interval(ids, 1, BUDGET)
        yield f"distinct-2, {name}", distinct_interval(ids, 2, BUDGET)

        def entropy(prompts: np.ndarray, by_prompt: np.ndarray = by_prompt) -> float:
            return unigram_entropy(list(by_prompt[prompts]))

        yield f"unigram entropy, {name}", statistic_interval(entropy, PROMPTS, rng)
    for name, scale in (("calibrated", 1), ("overconfident", 3)):
        odds = np.abs(rng.normal(0.3, 0.8, PAIRS))
        margins = scale * np.where(rng.random(PAIRS) < 1 / (1 + np.exp(-odds)), odds, -odds)
        none = np.zeros(PAIRS)
        for metric, kept in ((calibration_error, 0.25), (accuracy, 0.75)):

            def statistic(pairs: np.ndarray, of=metric, margins=margins, none=none) -> float:
                return of(margins[pairs], none[pairs])

            label = f"{metric.__name__.replace('_', ' ')}, {name}"
            yield label, statistic_interval(statistic, PAIRS, rng, True, kept)


def intervals_of(number: int) -> dict[str, Interval]:
    """The intervals of the data set of this number."""
    return dict(data_set(stream(0, "coverage", number)))


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data-sets", type=int, default=1000)
    with ProcessPoolExecutor() as pool:
        found = list(pool.map(intervals_of, range(parser.parse_args().data_sets)))
    print("| interval | truth | mean width | holds the truth |\n|---|---|---|---|")
    for name in found[0]:
        intervals = [of_data_set[name] for of_data_set in found]
        truth = np.mean([interval.value for interval in intervals])
        low = np.array([interval.low for interval in intervals])
        high = np.array([interval.high for interval in intervals])
        held = np.mean((low <= truth) & (truth <= high))
        print(f"| {name} | {truth:.4g} | {np.mean(high - low):.2g} | {held:.1%} |")


if __name__ == "__main__":
    main()
