"""Diversity: values by hand, sacrebleu's parts as oracle, and tokens that must not count."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fdpo.baselines.distinct import distinct_interval, distinct_n
from fdpo.core.randomness import stream
from fdpo.evaluation.metrics.diversity import (
    good_distances,
    repeated_ngram_share,
    self_bleu,
    unigram_entropy,
)

TEXTS = st.lists(st.lists(st.integers(0, 5), min_size=1, max_size=8), min_size=1, max_size=6)

COMPLETIONS = [[1, 2, 3, 9], [1, 2, 4, 1, 2, 9]]  # 9 ends a text


@pytest.mark.parametrize(
    ("metric", "arguments", "said"),
    [
        (unigram_entropy, ([[]],), "no tokens"),
        (distinct_n, (COMPLETIONS, 0, 5), "at least 1"),
        (distinct_n, (COMPLETIONS, 2, 0), "at least 1"),
        (self_bleu, (["alone"],), "at least 2"),
    ],
)
def test_what_is_not_defined_is_refused(metric, arguments, said):
    with pytest.raises(ValueError, match=said):
        metric(*arguments)


def test_unigram_entropy_by_hand():
    # Pooled: 1 and 2 three times, 9 twice, 3 and 4 once, of 10.
    shares = [0.3, 0.3, 0.2, 0.1, 0.1]
    expected = -sum(share * math.log(share) for share in shares)
    assert unigram_entropy(COMPLETIONS) == pytest.approx(expected, rel=1e-12)
    assert unigram_entropy([[5, 5, 5]]) == 0
    assert unigram_entropy([[1, 2], [3, 4]]) == pytest.approx(math.log(4))


@pytest.mark.parametrize(
    ("n", "budget", "distinct"),
    [
        (1, 4, 4),  # 1 2 3 9
        (1, 6, 4),  # 1 2 3 9 | 1 2
        (1, 10, 5),  # all tokens: 1 2 3 9 4
        (2, 3, 3),  # 12 23 39
        (2, 5, 4),  # 12 23 39 | 12 24
        (2, 8, 6),  # 12 23 39 | 12 24 41 12 29
    ],
)
def test_distinct_n_by_hand(n, budget, distinct):
    assert distinct_n(COMPLETIONS, n, budget) == distinct / budget


def test_distinct_n_does_not_cross_from_one_completion_into_the_next():
    assert distinct_n([[1, 2], [3, 4]], n=2, budget=2) == 1
    assert distinct_n([[1], [2], [3]], n=2, budget=2) == 0
    assert distinct_n([[1, 2], [3, 1, 2]], n=2, budget=3) == pytest.approx(2 / 3)


def test_length_is_not_punished_and_saying_little_does_not_look_varied():
    assert distinct_n([[1, 2, 3]] * 4, 1, 12) == distinct_n([[1, 2, 3] * 4] * 4, 1, 12)
    assert distinct_n([[1, 2, 3]], 1, budget=30) == pytest.approx(0.1)
    assert distinct_n([[]], 2, budget=30) == 0


def test_the_interval_of_distinct_2_is_as_wide_as_data_sets_spread():
    """The usual bootstrap's standard error is twice too large, half-samples' too small."""

    def interval(name):
        ranks = stream(0, "zipf", name).zipf(1.4, size=(40, 3, 12)) % 1000
        return distinct_interval(ranks.tolist(), 2, budget=800)  # of 1,320

    intervals = [interval(trial) for trial in range(200)]
    true_spread = np.std([found.value for found in intervals], ddof=1)
    reach = np.mean([found.high - found.low for found in intervals]) / 2
    assert reach / 2.02 == pytest.approx(true_spread, rel=0.15)


def test_the_variance_of_distinct_1_by_hand():
    # Types of prompt 0 alone: 1, 2; of 1 alone: 3; of 0 and 1: 9. All eight tokens are read.
    ids = [[[1, 9], [2, 1]], [[9, 9], [3, 3]]]
    found = distinct_interval(ids, 1, budget=8)
    # 3 types of one prompt in 8 tokens: the budget would take 3/8 of 4 instead of each prompt's.
    alone = (2 - 1.5) ** 2 + (1 - 1.5) ** 2
    assert alone * 2 / 1 - 1 == 0  # less the square of the type in both
    assert (found.value, found.low, found.high) == (0.5, 0.5, 0.5)


def test_distinct_n_reads_a_sample_of_each_prompt_before_the_next():
    assert distinct_interval([[[1, 2], [3, 4]], [[1, 2], [5, 6]]], 1, budget=4).value == 0.5


def test_repeated_ngram_share_by_hand():
    assert repeated_ngram_share([1, 2, 3, 4, 5, 6, 7]) == 0
    assert repeated_ngram_share([1, 1, 1, 1, 1, 1]) == pytest.approx(2 / 3)  # 3 places, 1 distinct
    # 12 24 41 12 29: the second 12 repeats, 1 of 5.
    assert repeated_ngram_share(COMPLETIONS[1], n=2) == pytest.approx(0.2)
    assert repeated_ngram_share([1, 2, 3]) == 0
    assert repeated_ngram_share([]) == 0


def test_self_bleu_by_hand():
    # Each text finds 3 of 4 words, 2 of 3 pairs, 1 of 2 triples in the other, equally long one.
    texts = ["a b c d", "a b c e"]
    assert self_bleu(texts, max_order=3) == pytest.approx((3 / 4 * 2 / 3 * 1 / 2) ** (1 / 3))
    # Exponential smoothing: the first order without a match counts 1/2 of one n-gram, here of 1.
    assert self_bleu(texts) == pytest.approx((3 / 4 * 2 / 3 * 1 / 2 * 1 / 2) ** (1 / 4))


def test_self_bleu_of_equal_texts_is_one_and_of_unrelated_texts_nought():
    assert self_bleu(["the cat sat on the mat"] * 3) == 1
    assert self_bleu(["one"] * 2) == 1
    assert self_bleu(["a b c d", "e f g h"]) == 0


@pytest.mark.parametrize(
    "texts",
    [
        ["这部电影非常好看我很喜欢它", "这部电影非常好看我很喜欢他"],
        ["この映画はとても面白かったです", "この映画はとても面白かったよ。"],
        ["หนังเรื่องนี้สนุกมากจริงๆ", "หนังเรื่องนี้สนุกมากจริง"],
    ],
)
def test_self_bleu_counts_characters_where_words_have_no_spaces(texts):
    spaced = [" ".join(text) for text in texts]
    assert self_bleu(texts) == pytest.approx(self_bleu(spaced))
    assert self_bleu(texts) > 0.7
    assert self_bleu([texts[0], "abc def"]) < 0.05


@given(st.lists(st.text("abc ", min_size=1, max_size=12), min_size=2, max_size=4))
def test_self_bleu_lies_in_its_range_and_knows_no_order(texts):
    value = self_bleu(texts)
    assert 0 <= value <= 1
    assert self_bleu(texts[::-1]) == pytest.approx(value, abs=1e-12)


def test_distances_of_good_samples_leave_out_bad_ones_and_prompts_without_two():
    """By hand: unit vectors at 0°, 90° and 180°, whose cosines are 0, -1 and 0."""
    embeddings = np.array([[[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]] * 3)
    good = np.array([[True, True, True], [True, False, True], [False, True, False]])
    found = good_distances(embeddings, good)
    assert found[:2].tolist() == [(1 + 2 + 1) / 3, 2.0]
    assert np.isnan(found[2])
