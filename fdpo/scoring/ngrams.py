"""Hashed n-grams: a text as two sets of feature numbers, its words' and its characters'."""

import re
from collections.abc import Iterable
from functools import lru_cache
from zlib import crc32

import numpy as np

# scikit-learn's HashingVectorizer does much the same, but importing it takes 3 s: longer than all
# the rest of the stage that scores completions, which needs only this.

WORD_ORDERS = (1, 2)
CHARACTER_ORDERS = (4, 5, 6)  # within a word and the spaces around it
BUCKETS = 2**17  # per set; with fewer, collisions among the n-grams of 10,000 snippets show

_TOKEN = re.compile(r"[^\W_]+(?:'[^\W_]+)*|[!?]")


def word_features(text: str) -> np.ndarray:
    """The distinct buckets of the text's word 1-grams and 2-grams: sorted, [n] int64."""
    words = _TOKEN.findall(text.lower())
    return _distinct(
        _bucket(" ".join(words[start : start + order]))
        for order in WORD_ORDERS
        for start in range(len(words) - order + 1)
    )


def character_features(text: str) -> np.ndarray:
    """The distinct buckets of the text's character 4-grams to 6-grams: sorted, [n] int64."""
    words = set(_TOKEN.findall(text.lower()))
    return _distinct(bucket for word in words for bucket in _word_characters(word))


@lru_cache(maxsize=100_000)  # few distinct words make up most of a text
def _word_characters(word: str) -> tuple[int, ...]:
    padded = f" {word} "
    return tuple(
        _bucket(padded[start : start + order])
        for order in CHARACTER_ORDERS
        for start in range(len(padded) - order + 1)
    )


def _bucket(ngram: str) -> int:
    return crc32(ngram.encode()) % BUCKETS


def _distinct(buckets: Iterable[int]) -> np.ndarray:
    return np.array(sorted(set(buckets)), dtype=np.int64)
