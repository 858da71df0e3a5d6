"""Token log-probabilities in tiles: autograd through log_softmax says the same."""

import pytest
import torch
import torch.nn.functional as F

from fdpo.models import logprobs
from fdpo.models.lm_head import LMHead
from fdpo.models.logprobs import token_logps


def tokens(dtype=torch.float64, count=13, hidden=6, vocabulary=11):
    generator = torch.Generator().manual_seed(0)
    states = 3 * torch.randn(count, hidden, generator=generator, dtype=torch.float64)
    head = torch.randn(vocabulary, hidden, generator=generator, dtype=torch.float64)
    targets = torch.randint(vocabulary, (count,), generator=generator)
    return states.to(dtype).requires_grad_(), head.to(dtype), targets


def by_autograd(hidden, head, targets):
    return F.log_softmax(hidden @ head.T, dim=1).gather(1, targets[:, None])[:, 0]


def test_a_token_by_hand():
    head = torch.tensor([[1.0, 0.0], [0.0, 1.0]])  # logits are the hidden state
    hidden = torch.tensor([[0.0, 0.0], [torch.tensor(3.0).log(), 0.0]])
    values = token_logps(hidden, LMHead(head), torch.tensor([0, 0]))
    torch.testing.assert_close(values, torch.tensor([0.5, 0.75]).log())


@pytest.mark.parametrize("rows", [1, 2, 5, 100])
@pytest.mark.parametrize("is_trained", [False, True], ids=["frozen head", "trained head"])
def test_values_and_gradients_are_those_of_autograd_whatever_the_tiles(
    monkeypatch, rows, is_trained
):
    monkeypatch.setattr(logprobs, "TILE_ELEMENTS", rows * 11)
    hidden, head, targets = tokens()
    inputs = (hidden, head.requires_grad_()) if is_trained else (hidden,)
    upstream = torch.linspace(-2, 3, 13, dtype=torch.float64)
    values, expected = (
        token_logps(hidden, LMHead(head), targets),
        by_autograd(hidden, head, targets),
    )
    torch.testing.assert_close(values, expected, rtol=1e-13, atol=1e-13)
    gradients, theirs = (torch.autograd.grad(v, inputs, upstream) for v in (values, expected))
    torch.testing.assert_close(gradients, theirs, rtol=1e-12, atol=1e-13)


def test_extreme_logits_neither_overflow_nor_vanish():
    head = torch.tensor([[1.0], [-1.0]])
    hidden = torch.tensor([[1e4], [-1e4]], requires_grad=True)
    values = token_logps(hidden, LMHead(head), torch.tensor([0, 0]))
    values.sum().backward()
    assert values.tolist() == [0.0, -2e4]
    assert hidden.grad.tolist() == [[0.0], [2.0]]


def test_half_precision_states_give_float32_log_probabilities():
    hidden, head, targets = tokens(torch.bfloat16)
    values = token_logps(hidden, LMHead(head), targets)
    (gradient,) = torch.autograd.grad(values.sum(), hidden)
    assert values.dtype == torch.float32
    assert gradient.dtype == torch.bfloat16
    torch.testing.assert_close(
        values, by_autograd(hidden.float(), head.float(), targets), rtol=0.05, atol=0.2
    )
