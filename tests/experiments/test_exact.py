"""The exact study against sums by hand, and the pipeline's sampled metrics against enumeration."""

import json
import math
import shutil

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from experiments.exact.comparison import at_level, compare, first_crossing
from experiments.exact.explanation import at_equal_kl
from experiments.exact.optimum import CLOSED, optimum, optimum_at, target
from experiments.exact.training import (
    Labels,
    damped,
    draw_pairs,
    flow,
    minimum,
    slope_at_reference,
    slopes,
)
from experiments.exact.world import (
    Measures,
    World,
    enumerate_completions,
    measure,
)
from fdpo.core import records
from fdpo.core.records import Prompt
from fdpo.losses import LOSSES, Objective, f_dpo_loss
from fdpo.sources import exact
from tests.support import stage_runs, tiny
from tests.support.settings import ROOT, copy_settings, set_knobs
from user_data.letters import reward

LOG_3 = math.log(3)


def small_world(prompts: int = 2, completions: int = 6) -> World:
    draws = np.random.default_rng(0)
    log_ref = torch.tensor(draws.normal(size=(prompts, completions))).log_softmax(-1)
    return World(log_ref, torch.tensor(draws.normal(size=(prompts, completions))))


def test_every_completion_is_listed_once_with_the_log_probability_of_a_plain_forward():
    model = exact.language_model(4, 0).double()
    ids, logps = enumerate_completions(model, [1, 3, 2], 4)
    assert len({tuple(one) for one in ids}) == len(ids) == 341
    assert logps.exp().sum().item() == pytest.approx(1, abs=1e-6)
    for place in (0, 3, 50, 100, 340):
        expected = tiny.plain_logp(model, [1, 3, 2], ids[place]).item()
        assert logps[place].item() == pytest.approx(expected, abs=1e-6)


def test_the_reward_by_hand():
    assert reward([""] * 3, ["", "ab", "cdd"]) == pytest.approx([0, 2.1, -0.4 - 0.9 - 0.9 + 1.2])


def test_measures_by_hand():
    """Reference (1/2, 1/2), policy (3/4, 1/4), rewards 2 and −2."""
    world = World(torch.tensor([[0.5, 0.5]]).double().log(), torch.tensor([[2.0, -2.0]]).double())
    found = measure(world, torch.tensor([[0.75, 0.25]]).double().log())
    log = math.log
    kl = 0.75 * log(1.5) + 0.25 * log(0.5)
    forward = 0.5 * log(1 / 1.5) + 0.5 * log(2)
    jsd = (0.75 * log(6 / 5) + 0.25 * log(2 / 3) + 0.5 * log(4 / 5) + 0.5 * log(4 / 3)) / 2
    entropy = -0.75 * log(0.75) - 0.25 * log(0.25)
    for value, expected in zip(vars(found).values(), (1, kl, forward, jsd, entropy), strict=True):
        assert value.item() == pytest.approx(expected, abs=1e-12)


def test_squared_has_no_optimum_where_its_reward_would_pass_the_greatest_implied_one():
    world = small_world()
    assert optimum("squared", 20.0, 0.5, world.log_ref, world.reward) is not None
    assert optimum("squared", 0.5, 0.5, world.log_ref, world.reward) is None


# β(g(log 1.5) − g(log 0.5)) = log 3 by each link, at α = 0.5; IPO's log-ratios are (3/4 − 1/2)/β
# apart, by the labels' 3 in 4 that the first is chosen.
BY_HAND = {
    "sigmoid": 1.0,
    "jsd": LOG_3 / math.log(1.2 / (2 / 3)),
    "fkl": LOG_3 / (1 / 0.5 - 1 / 1.5),
    "alpha": LOG_3 / (2 * (0.5**-0.5 - 1.5**-0.5)),
    "jeffreys": LOG_3 / (LOG_3 + 1 / 0.5 - 1 / 1.5),
    "chi2": LOG_3 / (LOG_3 + 1.5 - 0.5),
    "ipo": 0.25 / LOG_3,
}


@pytest.mark.parametrize("loss", CLOSED)
def test_two_actions_by_hand(loss):
    """Reference (1/2, 1/2), rewards log 3 apart: at these β all optima are (3/4, 1/4)."""
    world = World(torch.full((1, 2), 0.5).double().log(), torch.tensor([[LOG_3, 0]]).double())
    best = optimum(loss, BY_HAND[loss], 0.5, world.log_ref, target(world, loss))
    trained = minimum(world, Objective(loss, BY_HAND[loss], 0.5))
    for policy in (best, trained):
        torch.testing.assert_close(policy.exp(), torch.tensor([[0.75, 0.25]]).double())


@pytest.mark.parametrize("loss", CLOSED)
def test_a_table_trained_on_everything_reaches_the_optimum(loss):
    world = small_world()
    beta, best = optimum_at(world, loss, "kl", 0.5)
    assert measure(world, best).kl.item() == pytest.approx(0.5, abs=1e-6)
    found = measure(world, minimum(world, Objective(loss, beta, 0.5)))
    assert found.reward.item() == pytest.approx(measure(world, best).reward.item(), abs=1e-6)
    assert found.kl.item() == pytest.approx(0.5, abs=1e-5)


@pytest.mark.parametrize("loss", ["sigmoid", "jsd", "fkl", "ipo", "hinge"])
def test_slopes_are_those_of_f_dpo_loss_over_the_pairs(loss):
    world, objective = small_world(), Objective(loss, 0.7, 0.5)
    pairs = draw_pairs(world, Labels(), 40, 3)
    logits = torch.randn(3, 2, 6, generator=torch.manual_seed(0)).double().requires_grad_()
    log_policy = logits.log_softmax(-1)
    flat, ref = log_policy.flatten(), world.log_ref.flatten().repeat(3)
    sides = [at[side] for at in (flat, ref) for side in (pairs.chosen, pairs.rejected)]
    (f_dpo_loss(objective, *sides)[0] * pairs.weight).sum().backward()
    slope, curvature = slopes(objective, pairs, log_policy.detach(), world.log_ref)
    torch.testing.assert_close(slope, logits.grad)
    assert (curvature >= 0).all()


def test_a_damped_step_solves_its_equations():
    policy = small_world().log_ref.exp()
    curvature, gradient = torch.rand(2, 2, 6, generator=torch.manual_seed(0)).double()
    jacobian = torch.eye(6).double() - policy[:, None, :]
    matrix = torch.eye(6) / 3.0 + jacobian.mT @ curvature.diag_embed() @ jacobian
    expected = torch.linalg.solve(matrix, gradient)
    torch.testing.assert_close(damped(gradient, curvature, policy, 3.0), expected)


@pytest.mark.parametrize("loss", ["fkl", "ipo"])
def test_a_long_flow_on_many_pairs_comes_near_the_optimum(loss):
    world = small_world()
    beta, best = optimum_at(world, loss, "kl", 0.3)
    draws = draw_pairs(world, Labels(), 200_000, 2)
    *_, end = flow(world, Objective(loss, beta, 0.5), draws)
    exact = measure(world, best).reward.item()
    np.testing.assert_allclose(measure(world, end).reward, exact, atol=0.02)


def test_a_seed_s_weights_add_up_to_1_but_for_pairs_of_equals():
    world = small_world()
    pairs = draw_pairs(world, Labels(), 50_000, 2)
    by_seed = torch.zeros(2).double().index_add_(0, pairs.chosen // 12, pairs.weight)
    equals = world.log_ref.exp().square().sum(-1).mean().item()
    np.testing.assert_allclose(by_seed, 1 - equals, atol=0.01)


def test_labels_by_hand():
    difference = torch.tensor([LOG_3, -LOG_3, 0.0]).double()
    for labels, expected in (
        (Labels(), [0.75, 0.25, 0.5]),
        (Labels(flip_rate=0.2), [0.65, 0.35, 0.5]),
        (Labels(by_rank=True), [1, 0, 0.5]),
    ):
        np.testing.assert_allclose(labels.probability(difference), expected)


def test_the_true_reward_by_reverse_kl_has_the_reward_of_the_frontier():
    world = small_world()
    estimate = 5 * world.reward.repeat(3, 1, 1) + 2  # its scale and its level play no part
    found = at_equal_kl(world, "sigmoid", "sigmoid", estimate).rewards
    best = measure(world, optimum_at(world, "sigmoid", "kl", 1.0)[1]).reward.item()
    np.testing.assert_allclose(found, best, atol=0.01)


@pytest.mark.parametrize("loss", LOSSES)
def test_the_slope_at_the_reference_by_hand(loss):
    """βf″/2 of the logistic shape, βf″ of the hinge and f″/β of the squared one."""
    curvature = LOSSES[loss].curvature
    shape = LOSSES[loss].preference_loss.__name__
    by_shape = {"bradley_terry": 0.4 / 2, "hinge": 0.4, "squared_distance": 1 / 0.4}
    slope = slope_at_reference(Objective(loss, 0.4, 0.5))
    assert slope == pytest.approx(curvature * by_shape[shape])


def path(*steps: tuple[list[float], list[float]]) -> list[Measures]:
    none = torch.zeros(len(steps[0][0]))
    return [Measures(torch.tensor(r), torch.tensor(kl), none, none, none) for r, kl in steps]


def test_rewards_at_a_level_by_hand():
    """The second seed passes 1 nat midway between steps; the third never does."""
    one = path(([0, 0, 0], [0, 0, 0]), ([1, 1, 1], [1, 0.5, 0.5]), ([3, 2, 2], [2, 1.5, 0.9]))
    np.testing.assert_allclose(first_crossing(one, "kl", 1.0), [1, 1.5, np.nan])


def test_a_seed_s_strength_is_chosen_by_the_others():
    first, second = (
        path(([0, 0, 0], [0, 0, 0]), (rewards, [1, 1, 1])) for rewards in ([9, 1, 1], [2] * 3)
    )
    not_all = path(([0, 0, 0], [0, 0, 0]), ([9, 9, 9], [1, 1, 0.5]))
    found = at_level("sigmoid", {0.1: first, 0.2: second, 0.3: not_all}, "kl", 1.0)
    assert found.rewards.tolist() == [2, 1, 1]
    assert found.betas == [0.1, 0.2]
    again, other = compare([found, at_level("fkl", {0.2: second}, "kl", 1.0)])
    assert again["reward"] == pytest.approx(4 / 3)
    assert "difference" not in again
    assert other["difference"] == pytest.approx(2 / 3)


@pytest.mark.slow
def test_the_pipeline_s_metrics_are_those_of_enumeration(tmp_path):
    """All stages run; each interval has the exact value, with room for 1 in 20 to miss."""
    copy_settings(tmp_path)
    shutil.copytree(ROOT / "user_data", tmp_path / "user_data")
    set_knobs(tmp_path, study="exact", beta=0.5)
    stage_runs.run_all(stage_runs.STAGES, tmp_path)
    reference, policy = (
        AutoModelForCausalLM.from_pretrained(tmp_path / "models" / name, dtype=torch.float64)
        for name in ("reference", "policy")
    )
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "models/reference")
    prompts = [
        prompt.prompt
        for prompt in records.read(tmp_path / "data/prompts.jsonl", Prompt)
        if prompt.role == "heldout"
    ]
    exactly = {"kl": 0.0, "reward": 0.0, "reward_reference": 0.0}
    for prompt in prompts:
        prompt_ids = tokenizer(prompt)["input_ids"]
        ids, ref = enumerate_completions(reference, prompt_ids, 4)
        _, now = enumerate_completions(policy, prompt_ids, 4)
        texts = [tokenizer.decode(one, skip_special_tokens=True) for one in ids]
        rewards = torch.tensor(reward([prompt] * len(texts), texts), dtype=torch.float64)
        exactly["kl"] += (now.exp() * (now - ref)).sum().item() / len(prompts)
        exactly["reward"] += (now.exp() * rewards).sum().item() / len(prompts)
        exactly["reward_reference"] += (ref.exp() * rewards).sum().item() / len(prompts)
    exactly["kl_monte_carlo"] = exactly["kl"]
    found = json.loads((tmp_path / "results/evaluate/metrics.json").read_text())
    assert exactly["kl"] > 0.3
    for name, value in exactly.items():
        half = (found[name]["high"] - found[name]["low"]) / 2
        assert abs(found[name]["value"] - value) < 1.5 * half, name
