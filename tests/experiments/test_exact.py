"""The exact study against sums by hand, and the pipeline's sampled metrics against enumeration."""

import json
import math
import shutil

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from experiments.exact.comparison import at_level, compare, first_crossing
from experiments.exact.explanation import reward_estimates
from experiments.exact.optimum import optimum, target
from experiments.exact.training import (
    Labels,
    draw_pairs,
    loss_of_everything,
    loss_of_pairs,
    minimum,
    slope_at_reference,
)
from experiments.exact.world import (
    Measures,
    World,
    enumerate_completions,
    measure,
)
from fdpo.core.errors import UserError
from fdpo.losses import LOSSES, NAMED, Objective, f_dpo_loss
from fdpo.sources import exact
from tests.support import clone, stage_runs, tiny
from tests.support.settings import copy_settings, set_knobs
from user_data.letters import reward

CLOSED = [loss.name for loss in NAMED if loss.name not in ("hinge", "squared")]


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


def test_prompts_are_distinct_and_refused_where_there_are_not_so_many():
    drawn = exact.prompts(3, 2, 0, 5, 4)
    assert len({prompt.prompt for prompt in drawn}) == 9
    assert [prompt.role for prompt in drawn] == ["train"] * 5 + ["heldout"] * 4
    with pytest.raises(UserError, match="there are 9 prompts of 2 of 3 letters"):
        exact.prompts(3, 2, 0, 6, 4)


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


@pytest.mark.parametrize("beta", [0.3, 1.0, 4.0])
@pytest.mark.parametrize("loss", CLOSED)
def test_the_optimum_has_the_implicit_rewards_it_should_and_adds_up_to_1(loss, beta):
    world = small_world()
    policy = optimum(loss, beta, 0.4, world.log_ref, target(world, loss))
    torch.testing.assert_close(policy.exp().sum(-1), torch.ones(2).double())
    implied = Objective(loss, beta, 0.4).implicit_reward(policy, world.log_ref)
    wanted = target(world, loss)
    torch.testing.assert_close(
        implied - implied[:, :1], wanted - wanted[:, :1], rtol=1e-6, atol=1e-7
    )


def test_squared_has_no_optimum_where_its_reward_would_pass_the_greatest_implied_one():
    world = small_world()
    assert optimum("squared", 20.0, 0.5, world.log_ref, world.reward) is not None
    assert optimum("squared", 0.5, 0.5, world.log_ref, world.reward) is None


@pytest.mark.parametrize("loss", CLOSED)
def test_a_table_trained_on_everything_reaches_the_optimum(loss):
    world = small_world()
    beta = 2.0 / LOSSES[loss].curvature if loss != "ipo" else 0.3
    best = measure(world, optimum(loss, beta, 0.5, world.log_ref, target(world, loss)))
    everything = loss_of_everything(world, Objective(loss, beta, 0.5), Labels())
    found = measure(world, minimum(world, everything, world.log_ref))
    assert found.reward.item() == pytest.approx(best.reward.item(), abs=1e-4)
    assert found.kl.item() == pytest.approx(best.kl.item(), abs=1e-4)


def test_the_loss_of_everything_is_the_mean_of_f_dpo_loss_over_all_labelled_pairs():
    world, objective = small_world(1, 3), Objective("jsd", 0.7, 0.5)
    policy = (world.log_ref + torch.tensor([[0.5, -0.2, 0.1]])).log_softmax(-1)
    ref, logp, total = world.log_ref[0], policy[0], 0.0
    labels = Labels(flip_rate=0.1)
    for i in range(3):
        for j in range(3):
            odds = labels.probability(world.reward[0, i] - world.reward[0, j])
            chance = (ref[i] + ref[j]).exp()
            for w, r, share in ((i, j, odds), (j, i, 1 - odds)):
                sides = [logp[w], logp[r], ref[w], ref[r]]
                total += chance * share * f_dpo_loss(objective, *(s[None] for s in sides))[0].item()
    assert loss_of_everything(world, objective, labels)(policy).item() == pytest.approx(
        total.item()
    )


def test_the_loss_of_many_pairs_comes_to_that_of_everything():
    world, objective = small_world(), Objective("fkl", 0.7, 0.5)
    draws = draw_pairs(world, Labels(), 40_000, 2)
    policy = (world.log_ref + world.reward / 3).log_softmax(-1)
    drawn = loss_of_pairs(world, objective, draws)(policy.float().expand(2, -1, -1)).item() / 2
    drawn += math.log(2) * (draws.chosen == draws.rejected).double().mean().item()
    exact_loss = loss_of_everything(world, objective, Labels())(policy).item()
    assert drawn == pytest.approx(exact_loss, abs=0.01)


def test_fewer_pairs_are_the_first_of_more_and_labels_by_rank_are_right():
    world = small_world()
    few, many = (draw_pairs(world, Labels(by_rank=True), pairs, 2) for pairs in (10, 50))
    assert torch.equal(few.chosen, many.chosen[:, :10])
    rewards = world.reward.flatten()
    assert (rewards[many.chosen] >= rewards[many.rejected]).all()


def test_reward_estimates_are_where_the_posterior_is_flat():
    """There Σ (won − expected) of a completion is its estimate over the prior's variance."""
    world, prior = small_world(), 2.0
    draws = draw_pairs(world, Labels(), 60, 3)
    estimate = reward_estimates(world, draws, prior).flatten(1)
    surprise = torch.zeros_like(estimate)
    wrong = torch.sigmoid(estimate.gather(1, draws.rejected) - estimate.gather(1, draws.chosen))
    surprise.scatter_add_(1, draws.chosen, wrong).scatter_add_(1, draws.rejected, -wrong)
    torch.testing.assert_close(surprise, estimate / prior**2, rtol=1e-8, atol=1e-10)


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
    by_beta = [
        path(([0, 0, 0], [0, 0, 0]), (rewards, [1, 1, 1])) for rewards in ([9, 1, 1], [2] * 3)
    ]
    found = at_level("sigmoid", by_beta, "kl", 1.0)
    assert found.rewards.tolist() == [2, 1, 1]
    again, other = compare([found, at_level("fkl", by_beta[1:], "kl", 1.0)])
    assert again["reward"] == pytest.approx(4 / 3)
    assert "difference" not in again
    assert other["difference"] == pytest.approx(2 / 3)


def test_the_pipeline_s_metrics_are_those_of_enumeration(tmp_path):
    """All stages run; each interval has the exact value, with room for 1 in 20 to miss."""
    copy_settings(tmp_path)
    shutil.copytree(clone.ROOT / "user_data", tmp_path / "user_data")
    set_knobs(tmp_path, study="exact", beta=0.5)
    for stage in stage_runs.STAGES:
        ended = stage_runs.run(stage, tmp_path)
        assert ended.code == 0, f"{stage}: {ended.stderr}"
    reference, policy = (
        AutoModelForCausalLM.from_pretrained(tmp_path / "models" / name, dtype=torch.float64)
        for name in ("reference", "policy")
    )
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "models/reference")
    lines = (tmp_path / "data/prompts.jsonl").read_text().splitlines()
    prompts = [row["prompt"] for row in map(json.loads, lines) if row["role"] == "heldout"]
    exactly = {"kl": 0.0, "kl_monte_carlo": 0.0, "reward": 0.0, "reward_reference": 0.0}
    for prompt in prompts:
        prompt_ids = tokenizer(prompt)["input_ids"]
        ids, ref = enumerate_completions(reference, prompt_ids, 4)
        _, now = enumerate_completions(policy, prompt_ids, 4)
        texts = [tokenizer.decode(one, skip_special_tokens=True) for one in ids]
        rewards = torch.tensor(reward([prompt] * len(texts), texts), dtype=torch.float64)
        kl = (now.exp() * (now - ref)).sum().item() / len(prompts)
        exactly["kl"] += kl
        exactly["kl_monte_carlo"] += kl
        exactly["reward"] += (now.exp() * rewards).sum().item() / len(prompts)
        exactly["reward_reference"] += (ref.exp() * rewards).sum().item() / len(prompts)
    found = json.loads((tmp_path / "results/evaluate/metrics.json").read_text())
    assert exactly["kl"] > 0.3
    for name, value in exactly.items():
        half = (found[name]["high"] - found[name]["low"]) / 2
        assert abs(found[name]["value"] - value) < 1.5 * half, name
