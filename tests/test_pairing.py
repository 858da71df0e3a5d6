"""Pairs, labels and splits: ranks, ties, draws and prompts, for all rewards."""

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from fdpo import pairing
from fdpo.core.errors import UserError
from fdpo.core.randomness import streams_of
from fdpo.core.records import Pair, ScoredCompletion, ScoredGeneration
from fdpo.pairing import Labels, labelled, pairs_of, ranked

RANKS = [[1, 4], [1, 5], [1, 6], [2, 6], [3, 6], [4, 6]]
REWARDS = st.lists(
    st.one_of(st.integers(-2, 2).map(float), st.floats(-1e9, 1e9)), min_size=2, max_size=7
)


def generation(rewards: list[float], number: int = 5, **more) -> ScoredGeneration:
    """Completion i has the ids [i, i] and the reference log-probability -i."""
    return ScoredGeneration(
        id=number,
        prompt="A film",
        role="train",
        prompt_ids=[8, 9],
        completions=[
            ScoredCompletion(
                text=f" {i}", ids=[i, i], finished=False, ref_logp=-float(i), reward=reward
            )
            for i, reward in enumerate(rewards)
        ],
        **more,
    )


def kept(rewards: list[float], ranks=RANKS) -> list[Pair]:
    return [pair for pair in pairs_of(generation(rewards), ranks) if pair is not None]


def test_six_completions_give_six_pairs_by_hand():
    # By reward: completions 3, 0, 5, 2, 4, 1.
    pairs = kept([0.9, -3.0, 0.1, 2.0, -1.0, 0.5])
    assert [(pair.chosen_ids[0], pair.rejected_ids[0]) for pair in pairs] == [
        (3, 2),
        (3, 4),
        (3, 1),
        (0, 1),
        (5, 1),
        (2, 1),
    ]
    assert pairs[0] == Pair(
        id=5,
        prompt_ids=[8, 9],
        chosen_ids=[3, 3],
        rejected_ids=[2, 2],
        ref_chosen_logp=-3.0,
        ref_rejected_logp=-2.0,
        chosen_reward=2.0,
        rejected_reward=0.1,
        chosen_rank=1,
        rejected_rank=4,
    )


def test_completions_of_the_same_tokens_make_no_pair_whatever_their_rewards():
    first = generation([0.9, 0.5, 0.1])
    same = first.completions[0].model_copy(update={"reward": 0.3})
    twice = first.model_copy(update={"completions": [*first.completions, same]})
    made = list(pairs_of(twice, [[1, 3], [1, 2], [3, 4]]))
    assert made[0] is None
    assert (made[1].chosen_ids, made[1].rejected_ids) == ([0, 0], [1, 1])
    assert (made[2].chosen_ids, made[2].rejected_ids) == ([0, 0], [2, 2])


@given(REWARDS, st.data())
def test_a_pair_prefers_the_greater_reward_and_ties_make_none(rewards, data):
    places = st.integers(1, len(rewards))
    ranks = data.draw(st.lists(st.tuples(places, places).map(sorted), max_size=8))
    ranks = [pair for pair in ranks if pair[0] < pair[1]]
    by_rank = sorted(rewards, reverse=True)
    pairs = list(pairs_of(generation(rewards), ranks))
    assert len(pairs) == len(ranks)
    for (better, worse), pair in zip(ranks, pairs, strict=True):
        if by_rank[better - 1] == by_rank[worse - 1]:
            assert pair is None
            continue
        assert pair.chosen_reward > pair.rejected_reward
        assert (pair.chosen_rank, pair.rejected_rank) == (better, worse)
        for rank, ids, logp, reward in (
            (better, pair.chosen_ids, pair.ref_chosen_logp, pair.chosen_reward),
            (worse, pair.rejected_ids, pair.ref_rejected_logp, pair.rejected_reward),
        ):
            assert reward == by_rank[rank - 1] == rewards[ids[0]]
            assert logp == -ids[0]


@given(REWARDS)
def test_equal_rewards_keep_the_order_of_sampling(rewards):
    order = [completion.ids[0] for completion in ranked(generation(rewards).completions)]
    assert order == sorted(range(len(rewards)), key=lambda i: (-rewards[i], i))


def test_a_rank_beyond_the_completions_makes_no_pair():
    made = list(pairs_of(generation([1.0, 2.0, 3.0]), [(1, 2), (1, 4)]))
    assert made[0] is not None
    assert made[1] is None


def drawn(rewards: list[float], labels: Labels, prompt: int, seed: int = 0, ranks=RANKS):
    pairs = pairs_of(generation(rewards, prompt), ranks, keep_ties=True)
    return list(labelled(pairs, prompt, labels, streams_of(seed)))


@pytest.mark.parametrize(
    ("labels", "difference", "expected"),
    [
        (Labels(), -3.0, 1.0),
        (Labels(flip_rate=0.2), 5.0, 0.8),
        (Labels(temperature=1.0), math.log(3), 0.75),
        (Labels(temperature=2.0), 2 * math.log(3), 0.75),
        (Labels(temperature=1.0), -math.log(3), 0.25),
        (Labels(temperature=1.0, flip_rate=0.1), math.log(3), 0.1 + 0.8 * 0.75),
        (Labels(temperature=1e-3), -1e6, 0.0),
    ],
)
def test_the_probability_that_a_label_stays_by_hand(labels, difference, expected):
    assert labels.probability(difference) == pytest.approx(expected, abs=1e-15)


def test_labels_fall_as_often_as_stated():
    """4,000 prompts with a difference of ln 3: 3/4 by Bradley–Terry, 0.1 of them flipped."""
    rewards, labels = [math.log(3), 0.0], Labels(temperature=1.0, flip_rate=0.1)
    better = [drawn(rewards, labels, prompt, 0, [[1, 2]])[0].chosen_rank for prompt in range(4000)]
    assert better.count(1) / 4000 == pytest.approx(0.7, abs=4 * math.sqrt(0.7 * 0.3 / 4000))


def test_an_exchanged_pair_keeps_what_belongs_to_each_completion():
    (right,) = pairs_of(generation([2.0, 0.5]), [[1, 2]])
    (wrong,) = labelled(iter([right]), 5, Labels(temperature=1e-3), streams_of(0))
    assert wrong == right
    back = right.model_copy(update={"chosen_reward": -9.0})
    (turned,) = labelled(iter([back]), 5, Labels(temperature=1e-3), streams_of(0))
    assert turned == Pair(
        id=5,
        prompt_ids=[8, 9],
        chosen_ids=[1, 1],
        rejected_ids=[0, 0],
        ref_chosen_logp=-1.0,
        ref_rejected_logp=0.0,
        chosen_reward=0.5,
        rejected_reward=-9.0,
        chosen_rank=2,
        rejected_rank=1,
    )


def test_a_label_depends_on_its_prompt_its_place_and_the_seed_alone():
    rewards, labels = [0.1, 0.0, 0.3, 0.2, 0.5, 0.4], Labels(temperature=1.0)
    first = drawn(rewards, labels, 3)
    assert drawn(rewards, labels, 3) == first
    assert drawn(rewards, labels, 3, ranks=RANKS[:2]) == first[:2]
    others = [drawn(rewards, labels, prompt, seed) for prompt, seed in ((4, 0), (3, 1))]
    ranks = [[pair.chosen_rank for pair in pairs] for pairs in (first, *others)]
    assert len({tuple(found) for found in ranks}) == 3
    # A pair that is left out draws too, so those behind it keep theirs.
    pairs = [None, *list(pairs_of(generation(rewards, 3), RANKS))[1:]]
    assert list(labelled(iter(pairs), 3, labels, streams_of(0)))[1:] == first[1:]


def test_drawn_labels_keep_pairs_of_equal_reward():
    assert kept([1.0, 1.0], [[1, 2]]) == []
    (pair,) = drawn([1.0, 1.0], Labels(temperature=1.0), 5, 0, [[1, 2]])
    assert pair is not None


def test_given_pairs_are_kept_whatever_their_rewards():
    whole = generation([0.0, 2.0, 1.0], given=[[0, 1], [2, 0]])
    pairs = list(pairs_of(whole, "given"))
    assert [(pair.chosen_ids[0], pair.rejected_ids[0]) for pair in pairs] == [(0, 1), (2, 0)]
    assert [pair.chosen_reward for pair in pairs] == [0.0, 1.0]


@given(prompts=st.integers(2, 400), test_size=st.decimals("0.01", "0.99", places=2))
def test_no_prompt_is_on_both_sides_and_none_is_lost(prompts, test_size):
    expected = -(-prompts * int(test_size * 100) // 100)  # rounded up, in whole numbers
    assume(expected < prompts)
    ids = list(range(100, 100 + prompts))
    held = pairing.test_prompt_ids(ids, float(test_size))
    assert len(held) == expected
    assert held == set(ids[-expected:])


@pytest.mark.parametrize(("prompts", "test_size"), [(1, 0.5), (0, 0.5), (2, 0.99), (3, 1e-12)])
def test_a_split_with_an_empty_side_is_refused(prompts, test_size):
    with pytest.raises(UserError, match=rf"split.test_size = {test_size}: of {prompts} prompts"):
        pairing.test_prompt_ids(list(range(prompts)), test_size)
