"""How many n-grams of samples are distinct, and how sure that is."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from itertools import islice

from fdpo.baselines.intervals import Interval, interval


def distinct_n(completions: Sequence[Sequence[int]], n: int, budget: int) -> float:
    """Distinct n-grams among the first `budget` n-grams, over `budget`: 0 to 1.

    Li et al. 2016 (arXiv 1510.03055), under a fixed budget because the plain ratio falls with the
    amount of text. Completions are read in the order given (interleave the prompts, so that the
    budget reaches many), the last one in part; n-grams never cross from one completion into the
    next. The divisor stays `budget` when there are fewer n-grams, so a policy cannot look varied
    by saying little: the result is then what it had reached when the text ran out. To compare
    policies, choose one budget for all.

    Raises ValueError when n or the budget is below 1.
    """
    if n < 1 or budget < 1:
        raise ValueError(f"n = {n}, budget = {budget}: both must be at least 1")
    every = (ngram for ids in completions for ngram in ngrams(ids, n))
    return len(set(islice(every, budget))) / budget


def distinct_interval(ids: Sequence[Sequence[Sequence[int]]], n: int, budget: int) -> Interval:
    """`distinct_n` over a sample of each prompt, then the next of each, with its interval.

    ids: [prompts][samples] token ids, equally many samples. The variance is the delete-1
    jackknife's without its bias (Efron and Stein, Annals of Statistics 9, 1981, to third order).
    The jackknife counts, for each prompt, the n-grams that no other prompt has, less what the
    budget would take in their place at the average rate. The n-grams that exactly two prompts have
    are thereby counted twice and those of three thrice; their sums of squares per set of prompts
    are subtracted and added, as inclusion and exclusion have it.
    """
    value = distinct_n([row[s] for s in range(len(ids[0])) for row in ids], n, budget)
    order = (p for s in range(len(ids[0])) for p, row in enumerate(ids) for _ in ngrams(row[s], n))
    found = (ngram for s in range(len(ids[0])) for row in ids for ngram in ngrams(row[s], n))
    read, owners = Counter[int](), defaultdict[tuple[int, ...], set[int]](set)
    for prompt, ngram in islice(zip(order, found, strict=True), budget):
        read[prompt] += 1
        owners[ngram].add(prompt)
    shared = Counter(frozenset(prompts) for prompts in owners.values())
    prompts = len(ids)
    rate = sum(shared[frozenset([p])] for p in read) / max(1, read.total())
    alone = sum((shared[frozenset([p])] - rate * read[p]) ** 2 for p in read)
    squares = Counter[int]()
    for group, count in shared.items():
        squares[len(group)] += count**2
    variance = alone * prompts / max(1, prompts - 1) - squares[2] + squares[3]
    return interval(value, math.sqrt(max(0.0, variance)) / budget, prompts, share=True)


def ngrams(ids: Sequence[int], n: int) -> Iterator[tuple[int, ...]]:
    """The n-grams of one completion, in order."""
    return zip(*(ids[first:] for first in range(n)), strict=False)
