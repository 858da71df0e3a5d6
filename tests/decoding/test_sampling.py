"""Sampling: exact inversion, the right distribution, and independence of the batch."""

from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare
from torch.distributions import Categorical, kl_divergence

from fdpo.config.study import Heldout, Sampling
from fdpo.core.randomness import streams_of
from fdpo.decoding.sampling import Sampled, invert_cdf, sample, uniforms
from fdpo.decoding.strategies import decode_heldout, decode_train, tempered_kl_and_entropy
from fdpo.models.causal_lm import cached_attention
from tests.support import tiny

PROMPTS = [[3, 1, 4], [5], [9, 2, 6, 5, 3, 5, 8, 9], [7, 9], [3, 2]]
NO_TOKEN = -torch.inf


def logits(*probabilities: float) -> torch.Tensor:
    return torch.tensor([probabilities]).log()


@pytest.mark.parametrize(
    ("number", "token"),
    [(0.0, 0), (0.2499, 0), (0.25, 1), (0.7499, 1), (0.75, 2), (np.nextafter(1, 0), 2)],
)
def test_a_token_is_drawn_where_the_cumulative_probability_first_exceeds_the_number(number, token):
    assert invert_cdf(logits(0.25, 0.5, 0.25), torch.tensor([number])).tolist() == [token]


@given(
    weights=st.lists(st.sampled_from([NO_TOKEN, -30.0, -3.0, 0.0, 2.5]), min_size=1, max_size=40),
    number=st.one_of(
        st.sampled_from([0.0, float(np.nextafter(np.float32(1), np.float32(0)))]),
        st.floats(0, 1, exclude_max=True, width=32),
    ),
)
def test_a_token_without_probability_is_never_drawn(weights, number):
    row = torch.tensor([[*weights, 0.0, NO_TOKEN]])
    (token,) = invert_cdf(row, torch.tensor([number], dtype=torch.float32)).tolist()
    assert row[0, token] > NO_TOKEN


def test_numbers_near_1_end_within_a_large_vocabulary():
    """Rounded, fifty thousand probabilities may sum to less than the largest number below 1."""
    rows = torch.randn(20, 50_000, generator=torch.Generator().manual_seed(0))
    rows[:, 40_000:] = NO_TOKEN
    largest = torch.full((20,), float(np.nextafter(np.float32(1), np.float32(0))))
    assert (invert_cdf(rows, largest) < 40_000).all()


def draws_of(number: int, samples: int = 3, steps: int = 8) -> np.ndarray:
    return uniforms(streams_of(1), "test", number, samples, steps)


def sampled(model, numbers, end_ids=(tiny.END,)) -> list[list[Sampled]]:
    with cached_attention(model):
        return sample(model, [PROMPTS[n] for n in numbers], [draws_of(n) for n in numbers], end_ids)


@pytest.mark.parametrize("build", [tiny.llama, tiny.gpt2])
def test_completions_do_not_depend_on_the_batch(build):
    model = build(torch.float32)
    together = sampled(model, range(5))
    assert len({tuple(c.ids) for row in together for c in row}) > 10
    for numbers in ([4, 3, 2, 1, 0], [2, 0], [0], [1], [2], [3], [4]):
        for number, completions in zip(numbers, sampled(model, numbers), strict=True):
            for own, other in zip(completions, together[number], strict=True):
                assert (own.ids, own.finished) == (other.ids, other.finished)
                assert own.logp == pytest.approx(other.logp, rel=1e-5)


def test_fewer_samples_and_steps_are_the_first_of_more():
    many, few = uniforms(streams_of(1), "test", 7, 4, 10), uniforms(streams_of(1), "test", 7, 2, 6)
    np.testing.assert_array_equal(few, many[:2, :6])
    assert ((many >= 0) & (many < 1)).all()
    assert not np.array_equal(many, uniforms(streams_of(1), "other", 7, 4, 10))
    assert not np.array_equal(many, uniforms(streams_of(1), "test", 8, 4, 10))
    assert not np.array_equal(many, uniforms(streams_of(2), "test", 7, 4, 10))


def require_plain_logps(model, rows: list[list[Sampled]]) -> None:
    with torch.no_grad(), cached_attention(model):
        for prompt, completions in zip(PROMPTS, rows, strict=True):
            for completion in completions:
                plain = tiny.plain_logp(model, prompt, completion.ids).item()
                assert completion.logp == pytest.approx(plain, rel=1e-5)


@pytest.mark.parametrize("build", [tiny.llama, tiny.gpt2])
def test_recorded_log_probabilities_are_those_of_a_plain_forward_pass(build):
    model = build(torch.float32)
    rows = sampled(model, range(5))
    require_plain_logps(model, rows)
    assert len({len(completion.ids) for row in rows for completion in row}) > 1


def test_end_of_text_is_kept_where_it_was_drawn_and_nowhere_else():
    model = tiny.llama(torch.float32)
    finished = set()
    for ends in ([tiny.END], [2, 11, 30], list(range(0, tiny.VOCABULARY, 3)), []):
        for completion in (c for row in sampled(model, range(5), ends) for c in row):
            finished.add(completion.finished)
            *before, last = completion.ids
            assert not set(before) & set(ends)
            assert completion.finished == (last in ends)
            assert completion.finished or len(completion.ids) == 8
    assert finished == {True, False}


def enumerated(model, prompt: list[int], steps: int, vocabulary: int) -> dict[tuple, float]:
    """The exact probability of every completion, from plain forward passes."""
    exact = {}
    for ids in product(range(vocabulary), repeat=steps):
        end = ids.index(tiny.END) + 1 if tiny.END in ids else steps
        if ids[:end] not in exact:
            exact[ids[:end]] = tiny.plain_logp(model, prompt, ids[:end]).exp().item()
    return exact


def test_samples_follow_the_model_s_distribution():
    vocabulary, steps, count = 5, 3, 20_000
    model = tiny.llama(torch.float32, vocabulary)
    numbers = np.random.default_rng(0).random((count, steps), dtype=np.float32)
    with cached_attention(model), torch.no_grad():
        exact = enumerated(model, [3, 1], steps, vocabulary)
        (completions,) = sample(model, [[3, 1]], [numbers], [tiny.END])
    assert sum(exact.values()) == pytest.approx(1, abs=1e-5)
    counts = dict.fromkeys(exact, 0)
    for completion in completions:
        counts[tuple(completion.ids)] += 1
    expected = np.array([probability * count for probability in exact.values()])
    observed = np.array(list(counts.values()))
    rare = expected < 5
    cells = np.append(expected[~rare], expected[rare].sum())
    seen = np.append(observed[~rare], observed[rare].sum())
    assert len(cells) > 30
    assert chisquare(seen, cells * count / cells.sum()).pvalue > 0.01


SETTINGS = {"strategy": "sample", "completions": 3, "max_new_tokens": 8}
SETTINGS |= {"temperature": 1.0, "top_k": 0, "top_p": 1.0}


def decoded(model, **changes) -> list[list[Sampled]]:
    settings = Sampling(**SETTINGS | changes)
    with cached_attention(model):
        return decode_train(model, tiny.tokenizer(), range(5), PROMPTS, settings, streams_of(1))


@pytest.mark.parametrize("changes", [{"top_k": 1}, {"temperature": 1e-3}, {"top_p": 1e-6}])
def test_the_narrowest_settings_are_greedy_decoding(changes):
    model = tiny.llama(torch.float32)
    for prompt, row in zip(PROMPTS, decoded(model, **changes), strict=True):
        with cached_attention(model):
            greedy = model.generate(
                torch.tensor([prompt]), do_sample=False, max_new_tokens=8, pad_token_id=tiny.END
            )
        for completion in row:
            assert completion.ids == greedy[0, len(prompt) :].tolist()


def test_a_log_probability_is_the_model_s_whatever_the_temperature():
    model = tiny.llama(torch.float32)
    rows = decoded(model, temperature=0.5, top_k=7, top_p=0.9)
    assert rows != decoded(model)
    require_plain_logps(model, rows)


def test_held_out_samples_of_reference_and_policy_draw_their_own_numbers():
    model = tiny.llama(torch.float32)
    settings = Heldout(samples=3, max_new_tokens=8)
    with cached_attention(model):
        first, again, other = (
            decode_heldout(model, range(5), PROMPTS, settings, streams_of(1), purpose)
            for purpose in ("reference", "reference", "policy")
        )
    assert first == again
    assert all(ours != theirs for ours, theirs in zip(first, other, strict=True))


@pytest.mark.parametrize("temperature", [0.05, 0.5, 0.9])
def test_kl_and_entropy_of_a_temperature_are_those_of_the_two_distributions(temperature):
    rows = 5 * torch.randn(4, 50, generator=torch.Generator().manual_seed(0))
    rows[2, 7:] = NO_TOKEN
    before = rows.clone()
    sharp, plain = (Categorical(logits=rows.double() / t) for t in (temperature, 1))
    computed = tempered_kl_and_entropy(rows, temperature)
    assert torch.equal(rows, before)
    finite = [0, 1, 3]  # PyTorch's own entropy and KL are NaN where a token has no probability
    expected = torch.stack([kl_divergence(sharp, plain), sharp.entropy()], dim=1)
    torch.testing.assert_close(computed[finite], expected[finite], rtol=1e-5, atol=1e-6)
    short = tempered_kl_and_entropy(rows[2:3, :7], temperature)
    torch.testing.assert_close(computed[2:3], short, rtol=1e-5, atol=1e-6)


def test_a_tempered_completion_sums_kl_and_entropy_over_its_own_tokens():
    model = tiny.llama(torch.float32)
    with cached_attention(model), torch.no_grad():
        settings = Heldout(samples=3, max_new_tokens=8)
        rows = decode_heldout(
            model, range(5), PROMPTS, settings, streams_of(1), "cooler", temperature=0.6
        )
        assert len({len(completion.ids) for row in rows for completion in row}) > 1
        for prompt, row in zip(PROMPTS, rows, strict=True):
            for completion in row:
                places = model(torch.tensor([prompt + completion.ids])).logits[0]
                places = places[len(prompt) - 1 : -1]
                expected = tempered_kl_and_entropy(places, 0.6).sum(dim=0).tolist()
                assert completion.measured == pytest.approx(expected, rel=1e-4)
