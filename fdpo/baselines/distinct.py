"""How many n-grams of samples are distinct."""

from collections.abc import Iterator, Sequence
from itertools import islice


def distinct_n(completions: Sequence[Sequence[int]], n: int, budget: int) -> float:
    """Distinct n-grams among the first `budget` n-grams, over `budget`: 0 to 1.

    Li et al. 2016 (arXiv 1510.03055), under a fixed budget because the plain ratio falls with the
    amount of text. Completions are read in the order given (interleave the prompts, so that the
    budget reaches many), the last one in part; n-grams never cross from one completion into the
    next. The divisor stays `budget` when there are fewer n-grams, so a policy cannot look varied
    by saying little: the result is then what it had reached when the text ran out. To compare
    policies, choose one budget for all, and for `statistic_interval`, which measures halves,
    one that half of the prompts can fill.

    Raises ValueError when n or the budget is below 1.
    """
    if n < 1 or budget < 1:
        raise ValueError(f"n = {n}, budget = {budget}: both must be at least 1")
    every = (ngram for ids in completions for ngram in ngrams(ids, n))
    return len(set(islice(every, budget))) / budget


def ngrams(ids: Sequence[int], n: int) -> Iterator[tuple[int, ...]]:
    """The n-grams of one completion, in order."""
    return zip(*(ids[first:] for first in range(n)), strict=False)
