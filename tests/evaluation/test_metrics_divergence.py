"""Divergences: a language model small enough to enumerate, scipy as oracle, wrong tokens."""

import math
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import log_softmax, rel_entr
from scipy.stats import entropy
from torch.utils._python_dispatch import TorchDispatchMode

from fdpo.core.randomness import stream
from fdpo.evaluation.metrics.divergence import (
    divergence_sums,
    monte_carlo_kl,
    sequence_divergences,
    sequence_kl,
    token_divergences,
)
from fdpo.models.lm_head import LMHead

FIELDS = ("policy_logp", "reference_logp", "kl", "forward_kl", "jsd", "entropy")


def oracle(policy_logits, reference_logits, ids):
    """The six columns in float64, by scipy."""
    policy_logp = log_softmax(policy_logits.astype(np.float64), axis=1)
    reference_logp = log_softmax(reference_logits.astype(np.float64), axis=1)
    p, r = np.exp(policy_logp), np.exp(reference_logp)
    m = (p + r) / 2
    places = np.arange(len(ids))
    return {
        "policy_logp": policy_logp[places, ids],
        "reference_logp": reference_logp[places, ids],
        "kl": rel_entr(p, r).sum(1),
        "forward_kl": rel_entr(r, p).sum(1),
        "jsd": (rel_entr(p, m) + rel_entr(r, m)).sum(1) / 2,
        "entropy": entropy(p, axis=1),
    }


def of_heads(
    policy_hidden, reference_hidden, policy_weight, reference_weight, ids, *values, **more
):
    """`token_divergences` with heads of these weights and nothing else."""
    heads = (LMHead(policy_weight), LMHead(reference_weight))
    return token_divergences(policy_hidden, reference_hidden, *heads, ids, *values, **more)


def of_logits(policy_logits, reference_logits, ids, tile_tokens=128):
    """`token_divergences` of given logits: hidden states are the logits, the heads identities."""
    policy, reference = (
        torch.as_tensor(np.array(logits), dtype=torch.float32)
        for logits in (policy_logits, reference_logits)
    )
    head = torch.eye(policy.shape[1])
    return of_heads(policy, reference, head, head, torch.as_tensor(ids), tile_tokens=tile_tokens)


# An autoregressive model over a, b and end-of-text with at most three tokens, in full: a context
# is what was written so far, its hidden state a unit vector, the head the table of all logits.
A, B, END, LIMIT = 0, 1, 2, 3
CONTEXTS = {
    context: place
    for place, context in enumerate(
        context for length in range(LIMIT + 1) for context in product((A, B, END), repeat=length)
    )
}
COMPLETIONS = [
    tokens
    for length in range(1, LIMIT + 1)
    for tokens in product((A, B, END), repeat=length)
    if END not in tokens[:-1] and (tokens[-1] == END or length == LIMIT)
]
HEADS = [
    torch.from_numpy(stream(0, "toy", name).normal(size=(3, len(CONTEXTS)))).float()
    for name in ("policy", "reference")
]


def sequence_log_probability(head, tokens):
    logp = log_softmax(head.double().numpy(), axis=0)
    return sum(logp[token, CONTEXTS[tokens[:place]]] for place, token in enumerate(tokens))


POLICY, REFERENCE = (
    np.array([sequence_log_probability(head, tokens) for tokens in COMPLETIONS]) for head in HEADS
)
EXACT_KL = float((np.exp(POLICY) * (POLICY - REFERENCE)).sum())


TOKEN_VALUES = torch.tensor([0.5, -2.0, 1.0])


def toy_divergences():
    """Per-token values over every completion, and their lengths."""
    contexts = [CONTEXTS[tokens[:place]] for tokens in COMPLETIONS for place in range(len(tokens))]
    ids = torch.tensor([token for tokens in COMPLETIONS for token in tokens])
    hidden = torch.eye(len(CONTEXTS))[contexts]
    return of_heads(hidden, hidden, *HEADS, ids, TOKEN_VALUES), list(map(len, COMPLETIONS))


def expected(per_sequence):
    """Expectation over the policy's completions."""
    return float((np.exp(POLICY) * per_sequence.numpy()).sum())


def test_the_toy_model_is_complete():
    assert len(COMPLETIONS) == 1 + 2 + 4 * 3
    assert np.exp(POLICY).sum() == pytest.approx(1)
    assert np.exp(REFERENCE).sum() == pytest.approx(1)


def test_both_estimators_have_the_exact_sequence_kl_as_expectation():
    tokens, lengths = toy_divergences()
    assert expected(sequence_kl(tokens.kl, lengths)) == pytest.approx(EXACT_KL, abs=1e-6)
    plain = monte_carlo_kl(tokens.policy_logp, tokens.reference_logp, lengths)
    assert expected(plain) == pytest.approx(EXACT_KL, abs=1e-6)
    assert plain.numpy() == pytest.approx(POLICY - REFERENCE, abs=1e-6)


def test_rao_blackwellising_never_goes_negative_and_lowers_the_variance():
    tokens, lengths = toy_divergences()
    exact_steps = sequence_kl(tokens.kl, lengths)
    plain = monte_carlo_kl(tokens.policy_logp, tokens.reference_logp, lengths)
    assert exact_steps.min() >= 0
    assert plain.min() < 0
    assert expected((exact_steps - EXACT_KL) ** 2) < expected((plain - EXACT_KL) ** 2) / 2


def test_a_control_has_mean_zero_and_takes_out_what_tokens_are_worth():
    """A score that adds up token values and nothing else keeps the variance of its expectations."""
    tokens, lengths = toy_divergences()
    control = divergence_sums(tokens.control, lengths)
    assert control.abs().max() > 1
    assert expected(control) == pytest.approx(0, abs=1e-6)
    score = torch.tensor([TOKEN_VALUES[list(tokens)].sum() for tokens in COMPLETIONS]).double()
    adjusted, mean = score - control, expected(score)
    assert expected(adjusted) == pytest.approx(mean, abs=1e-6)
    assert expected((adjusted - mean) ** 2) < expected((score - mean) ** 2) / 2


def test_divergences_of_sequences_have_the_exact_expectations():
    """Over all completions of both models: every one is a sample, weighed by its probability."""
    p, r = np.exp(POLICY), np.exp(REFERENCE)
    ratio = POLICY - REFERENCE
    estimates = [
        [sequence_divergences(np.array([[a]]), np.array([[b]])) for b in ratio] for a in ratio
    ]
    forward, jsd = np.einsum("a,b,abkl->k", p, r, np.array(estimates))
    m = (p + r) / 2
    assert forward == pytest.approx(entropy(r, p))
    assert jsd == pytest.approx((entropy(p, m) + entropy(r, m)) / 2)


def test_values_left_over_from_padding_are_refused():
    tokens, lengths = toy_divergences()
    padded = torch.cat([tokens.kl, torch.zeros(1)])
    for estimate in (sequence_kl, divergence_sums):
        with pytest.raises(ValueError, match="tokens in all"):
            estimate(padded, lengths)
    with pytest.raises(ValueError, match="tokens in all"):
        monte_carlo_kl(padded, padded, lengths)


def test_summed_forward_kl_is_not_the_sequence_level_forward_kl():
    tokens, lengths = toy_divergences()
    exact_forward_kl = float((np.exp(REFERENCE) * (REFERENCE - POLICY)).sum())
    assert abs(expected(divergence_sums(tokens.forward_kl, lengths)) - exact_forward_kl) > 0.05


def test_sums_by_hand_and_an_empty_completion():
    per_token = torch.tensor([1.0, 2.0, 4.0, 8.0], dtype=torch.float64)
    assert divergence_sums(per_token, [1, 0, 3]).tolist() == [1, 0, 14]


def test_two_tokens_by_hand():
    # π = (3/4, 1/4), r = (1/2, 1/2), m = (5/8, 3/8).
    found = of_logits([[math.log(3), 0.0]], [[5.0, 5.0]], [1])
    assert found.policy_logp.item() == pytest.approx(math.log(1 / 4))
    assert found.reference_logp.item() == pytest.approx(math.log(1 / 2))
    assert found.kl.item() == pytest.approx(0.75 * math.log(3 / 2) - 0.25 * math.log(2))
    assert found.forward_kl.item() == pytest.approx(0.5 * math.log(2 / 3) + 0.5 * math.log(2))
    to_m = 0.75 * math.log(6 / 5) + 0.25 * math.log(2 / 3)
    from_m = 0.5 * math.log(4 / 5) + 0.5 * math.log(4 / 3)
    assert found.jsd.item() == pytest.approx((to_m + from_m) / 2)
    assert found.entropy.item() == pytest.approx(-0.75 * math.log(0.75) - 0.25 * math.log(0.25))


@pytest.mark.parametrize("tile_tokens", [1, 7, 128])
def test_agrees_with_scipy_whatever_the_tile(tile_tokens):
    draws = stream(0, "heads")
    hidden = draws.normal(size=(2, 40, 8)).astype(np.float32)
    heads = draws.normal(size=(2, 500, 8)).astype(np.float32)
    ids = draws.integers(500, size=40)
    arrays = [torch.from_numpy(array) for array in (*hidden, *heads, ids)]
    before = [array.clone() for array in arrays]
    found = of_heads(*arrays, tile_tokens=tile_tokens)
    truth = oracle(hidden[0] @ heads[0].T, hidden[1] @ heads[1].T, ids)
    for field in FIELDS:
        values = getattr(found, field)
        assert values.dtype == torch.float64
        assert values.numpy() == pytest.approx(truth[field], rel=2e-5, abs=1e-6)
    assert all(torch.equal(*pair) for pair in zip(arrays, before, strict=True))


def test_a_policy_near_the_reference_keeps_its_digits():
    """A KL of 1e-4 nats per token, normalisers near 10: float32 differences must not drown."""
    draws = stream(0, "near")
    reference = draws.normal(scale=2, size=(32, 20_000)).astype(np.float32)
    policy = reference + draws.normal(scale=0.014, size=reference.shape).astype(np.float32)
    ids = np.zeros(32, dtype=np.int64)
    reference_head = torch.from_numpy(reference.T.copy())
    policy_head = torch.from_numpy(policy.T.copy())
    found = of_heads(
        torch.eye(32), torch.eye(32), policy_head, reference_head, torch.from_numpy(ids)
    )
    truth = oracle(policy, reference, ids)
    for field in ("kl", "forward_kl", "jsd"):
        assert getattr(found, field).mean().item() == pytest.approx(truth[field].mean(), rel=1e-3)
        assert getattr(found, field).numpy() == pytest.approx(truth[field], rel=0.02)


def test_a_policy_that_is_the_reference_has_no_divergence():
    logits = stream(0, "same").normal(scale=5, size=(20, 300))
    found = of_logits(logits, logits, np.arange(20))
    assert found.kl.abs().max() == 0
    assert found.forward_kl.abs().max() == 0
    assert found.jsd.max() < 1e-6


def test_extreme_logits_stay_finite():
    """Probabilities underflow on one side, on the other and on both."""
    policy = [[0.0, -500.0, -500.0], [1e4, 0.0, -1e4]]
    reference = [[-500.0, 0.0, -500.0], [-1e4, 0.0, 1e4]]
    found = of_logits(policy, reference, [0, 0])
    assert found.kl.numpy() == pytest.approx([500, 2e4])
    assert found.forward_kl.numpy() == pytest.approx([500, 2e4])
    assert found.jsd.numpy() == pytest.approx([math.log(2)] * 2)
    assert found.entropy.numpy() == pytest.approx([0, 0])
    assert found.reference_logp.numpy() == pytest.approx([-500, -2e4])


LOGITS = st.lists(st.lists(st.floats(-30, 30), min_size=5, max_size=5), min_size=2, max_size=2)


@given(LOGITS.map(np.array), LOGITS.map(np.array))
def test_values_lie_within_their_bounds_and_are_scipys(policy, reference):
    found = of_logits(policy, reference, [0, 3])
    assert torch.stack([found.kl, found.forward_kl, found.jsd, found.entropy]).min() >= 0
    assert found.jsd.max() <= math.log(2)
    for field, values in oracle(policy, reference, [0, 3]).items():
        assert getattr(found, field).numpy() == pytest.approx(values, rel=1e-4, abs=1e-4)


def test_no_block_is_larger_than_the_tile():
    largest = 0

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            nonlocal largest
            result = function(*args, **(kwargs or {}))
            if isinstance(result, torch.Tensor):
                largest = max(largest, result.numel())
            return result

    hidden, head, ids = torch.randn(100, 4), torch.randn(1000, 4), torch.zeros(100, dtype=int)
    with Watch():
        of_heads(hidden, hidden, head, head, ids, tile_tokens=20)
    assert largest == 20 * 1000


def test_wrong_shapes_are_refused():
    hidden, head, ids = torch.zeros(4, 3), torch.zeros(7, 3), torch.zeros(4, dtype=int)
    of_heads(hidden, hidden, head, head, ids)
    for wrong in (
        (hidden[:3], hidden, head, head, ids),
        (hidden, torch.zeros(4, 2), head, head, ids),
        (hidden, hidden, head, torch.zeros(8, 3), ids),
        (hidden, hidden, head, head, ids[:3]),
    ):
        with pytest.raises(ValueError, match=r"needed|not equal"):
            of_heads(*wrong)
