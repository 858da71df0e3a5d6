"""Orders of pairs over epochs, and micro-batches of distinct sequences."""

from itertools import groupby

from hypothesis import given
from hypothesis import strategies as st

from fdpo.models.micro_batches import MicroBatch, micro_batches, to_trl_columns
from fdpo.training.pair_order import PromptOrder
from tests.support import tiny

IDS = st.lists(st.integers(0, 3), min_size=1, max_size=4)  # few ids: many shared sequences
PAIRS = st.lists(st.tuples(IDS, IDS, IDS), min_size=1, max_size=12)
PROMPTS = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=2), min_size=1, max_size=20)


def epoch(order: PromptOrder, number: int = 0) -> list[int]:
    order.set_epoch(number)
    return list(order)


@given(prompts=PROMPTS, seed=st.integers(0, 9), group=st.booleans(), number=st.integers(0, 3))
def test_every_pair_comes_once_an_epoch(prompts, seed, group, number):
    order = PromptOrder(prompts, seed, group)
    assert sorted(epoch(order, number)) == list(range(len(prompts)))
    assert len(order) == len(prompts)
    assert epoch(PromptOrder(prompts, seed, group), number) == epoch(order, number)


@given(prompts=PROMPTS, seed=st.integers(0, 9))
def test_a_grouped_prompt_s_pairs_are_neighbours_in_their_order(prompts, seed):
    order = epoch(PromptOrder(prompts, seed, group=True))
    runs = [list(run) for _, run in groupby(order, key=lambda index: prompts[index])]
    assert len(runs) == len({tuple(prompt) for prompt in prompts})
    assert all(run == sorted(run) for run in runs)


def test_seeds_epochs_and_grouping_give_other_orders():
    prompts = [[number // 6] for number in range(60)]
    orders = [
        epoch(PromptOrder(prompts, seed, group), number)
        for seed in (0, 1)
        for group in (True, False)
        for number in (0, 1)
    ]
    assert len({tuple(order) for order in orders}) == 8


def sequences(batch: MicroBatch) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """(prompt, completion) of each sequence of a micro-batch, read back from its tensors."""
    branches = batch.branches
    read = []
    for number in range(branches.sequences):
        completion = branches.targets[branches.sequence == number].tolist()
        first = branches.predictor_index[branches.sequence == number][0]
        row = branches.gather_index[number].tolist()
        prompt = branches.input_ids[0, row[: row.index(first) + 1]].tolist()
        read.append((tuple(prompt), tuple(completion)))
    return read


@given(triples=PAIRS, tokens=st.integers(1, 40))
def test_each_distinct_sequence_of_a_step_runs_once_and_stands_for_its_pairs(triples, tokens):
    pairs = [
        tiny.pair(*triple, ref_chosen_logp=-float(n), ref_rejected_logp=-n - 0.5)
        for n, triple in enumerate(triples)
    ]
    batches = micro_batches(to_trl_columns(pairs), tokens)

    run = [sequence for batch in batches for sequence in sequences(batch)]
    expected = {(tuple(p), tuple(c)) for p, *sides in triples for c in sides}
    assert len(run) == len(expected)
    assert set(run) == expected

    indices = [index for batch in batches for index in batch.indices.tolist()]
    assert sorted(indices) == list(range(len(pairs)))
    for batch in batches:
        own = sequences(batch)
        for place, index in enumerate(batch.indices.tolist()):
            prompt, chosen, rejected = map(tuple, triples[index])
            assert own[batch.chosen[place]] == (prompt, chosen)
            assert own[batch.rejected[place]] == (prompt, rejected)
            assert batch.ref_chosen_logps[place] == -index
            assert batch.ref_rejected_logps[place] == -index - 0.5


@given(triples=PAIRS, tokens=st.integers(1, 40))
def test_only_a_prompt_on_its_own_exceeds_the_tokens_of_a_forward_pass(triples, tokens):
    for batch in micro_batches(to_trl_columns([tiny.pair(*triple) for triple in triples]), tokens):
        prompts = {prompt for prompt, _ in sequences(batch)}
        assert batch.branches.input_ids.numel() <= tokens or len(prompts) == 1
