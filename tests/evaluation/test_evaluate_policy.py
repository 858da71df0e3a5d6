"""Evaluation's samples and divergences against plain forward passes, token by token."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from fdpo.config.study import Heldout
from fdpo.core.randomness import streams_of
from fdpo.evaluation.evaluate_policy import measure_test_pairs, sample_and_diverge
from fdpo.losses import Objective
from tests.support import tiny

PROMPTS = [[3, 1, 4], [5], [9, 2, 6, 5, 3, 5, 8, 9], [7, 9]]  # unequal, so that some are padded
HELDOUT = Heldout(samples=3, max_new_tokens=6)


def moved(model):
    """The model with every weight a little elsewhere."""
    noise = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in model.parameters():
            weight += 0.1 * torch.randn(weight.shape, generator=noise, dtype=weight.dtype)
    return model


def plainly(model, prompt: list[int], ids: list[int]) -> torch.Tensor:
    """log π over the vocabulary at each place where a token of `ids` was drawn."""
    model.set_attn_implementation("sdpa")
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([[*prompt, *ids]]), use_cache=False).logits[0]
    return logits[len(prompt) - 1 : -1].log_softmax(dim=1)


@pytest.mark.parametrize("build", [tiny.llama, tiny.gpt2])
def test_divergences_are_those_of_the_completion_s_own_tokens(build):
    """Of no token of the prompt, of padding or behind end-of-text, which some samples reach."""
    policy, reference = moved(build()), build()
    baseline = [SimpleNamespace(id=i, prompt_ids=ids) for i, ids in enumerate(PROMPTS)]
    samples, divergences = sample_and_diverge(
        policy, reference, [baseline[:3], baseline[3:]], HELDOUT, streams_of(1)
    )
    lengths = [[len(one.ids) for one in row] for row in samples]
    assert any(one.finished for row in samples for one in row)
    assert len({length for row in lengths for length in row}) > 1
    for prompt, row, found in zip(PROMPTS, samples, divergences, strict=True):
        p = torch.cat([plainly(policy, prompt, one.ids) for one in row])
        r = torch.cat([plainly(reference, prompt, one.ids) for one in row])
        drawn = torch.tensor([[token] for one in row for token in one.ids])
        expected = {
            "policy_logp": p.gather(1, drawn)[:, 0],
            "reference_logp": r.gather(1, drawn)[:, 0],
            "kl": (p.exp() * (p - r)).sum(1),
            "forward_kl": (r.exp() * (r - p)).sum(1),
            "entropy": -(p.exp() * p).sum(1),
        }
        for name, values in expected.items():
            torch.testing.assert_close(getattr(found, name), values, rtol=0, atol=1e-5)


@pytest.mark.parametrize("normalize", ["sum", "mean"])
def test_rewards_of_pairs_are_those_of_plain_passes(normalize):
    """β = 0.5 of jsd: log 2 + log σ(ρ), over as many tokens with `mean`."""
    policy = tiny.llama()
    pairs = [tiny.pair([3, 1], [4, 1, 5], [9, 2]), tiny.pair([5], [8], [3, 2, 7], number=1)]
    objective = Objective("jsd", 0.5, 0.5, normalize)
    found = measure_test_pairs(policy, pairs, objective, tokens_per_forward=512)
    policy.set_attn_implementation("sdpa")
    for side in ("chosen", "rejected"):
        rewards = []
        for pair in pairs:
            ids = getattr(pair, f"{side}_ids")
            ratio = tiny.plain_logp(policy, pair.prompt_ids, ids) - getattr(
                pair, f"ref_{side}_logp"
            )
            reward = 0.5 * (2 * ratio.sigmoid()).log().item()
            rewards.append(reward / len(ids) if normalize == "mean" else reward)
        by_prompt = dict(zip(found.prompts, getattr(found, f"{side}_reward"), strict=True))
        assert [by_prompt[0], by_prompt[1]] == pytest.approx(rewards, rel=1e-9)
    margins = found.chosen_reward - found.rejected_reward
    start = np.log(2)  # of no margin
    assert found.loss_reference == pytest.approx(start)
    assert found.loss_capped == pytest.approx(np.minimum(np.log1p(np.exp(-margins)), 2 * start))
