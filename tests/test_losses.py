"""The losses: values by hand, limits, extremes, and monotone links."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fdpo.losses import (
    LOSSES,
    MAX_EXPONENT,
    NAMED,
    Objective,
    f_dpo_loss,
    hinge,
    squared_distance,
    squared_link,
)

LN2 = math.log(2)
SQRT2 = math.sqrt(2)


def link(loss: str, log_ratio: torch.Tensor, alpha: float) -> torch.Tensor:
    return LOSSES[loss].link(log_ratio, alpha)


def vector(*values: float, dtype: torch.dtype = torch.float64, grad: bool = False) -> torch.Tensor:
    return torch.tensor(values, dtype=dtype, requires_grad=grad)


# Worked by hand, a row per loss: its generator f(u); the link at ρ = ln 2, 0 and −ln 2, where
# u = e^ρ is 2, 1 and 1/2 (α = 1/2); the loss of a pair with ρ = ln 2 for the chosen and 0 for the
# rejected completion at β = 2; and the loss of a pair without a margin at β = 2.
BY_HAND = {
    "sigmoid": (lambda u: u * u.log(), LN2, 0, -LN2, math.log(5 / 4), LN2),
    "hinge": (lambda u: u * u.log(), LN2, 0, -LN2, 0, 1),
    "jsd": (
        lambda u: u * u.log() - (u + 1) * ((u + 1) / 2).log(),
        math.log(4 / 3),
        0,
        math.log(2 / 3),
        math.log(25 / 16),
        LN2,
    ),
    "fkl": (lambda u: -u.log(), -1 / 2, -1, -2, math.log(1 + 1 / math.e), LN2),
    "alpha": (
        lambda u: (u - 2 * u.sqrt()) * 2,
        2 - SQRT2,
        0,
        2 - 2 * SQRT2,
        math.log(1 + math.exp(2 * SQRT2 - 4)),
        LN2,
    ),
    "jeffreys": (
        lambda u: (u - 1) * u.log(),
        LN2 - 1 / 2,
        -1,
        -LN2 - 2,
        math.log(1 + math.exp(-1) / 4),
        LN2,
    ),
    "chi2": (
        lambda u: u * u.log() + (u - 1) ** 2 / 2,
        2 + LN2,
        1,
        1 / 2 - LN2,
        math.log(1 + math.exp(-2) / 4),
        LN2,
    ),
    "ipo": (lambda u: u * u.log(), LN2, 0, -LN2, (LN2 - 1 / 4) ** 2, 1 / 16),
    "squared": (lambda u: u.log() ** 2 / 2, LN2 / 2, 0, -2 * LN2, math.log(3 / 2), LN2),
}


def test_every_loss_has_values_by_hand():
    assert list(BY_HAND) == [loss.name for loss in NAMED]
    crossed = [f"{name}-{shape}" for name in SEVEN[1:] for shape in ("hinge", "squared")]
    assert list(LOSSES) == [*BY_HAND, *crossed]


@pytest.mark.parametrize("loss", BY_HAND)
def test_the_link_by_hand(loss):
    values = link(loss, vector(LN2, 0, -LN2), alpha=0.5)
    torch.testing.assert_close(values, vector(*BY_HAND[loss][1:4]), rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize("loss", BY_HAND)
def test_the_link_is_the_derivative_of_the_generator_up_to_a_constant(loss):
    ratios = torch.linspace(-3, 3, 13, dtype=torch.float64)
    u = ratios.exp().requires_grad_()
    (slopes,) = torch.autograd.grad(BY_HAND[loss][0](u).sum(), u)
    values = link(loss, ratios, 0.5)
    torch.testing.assert_close(values - values[6], slopes - slopes[6], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("loss", BY_HAND)
def test_a_pair_by_hand(loss):
    _, at_ln2, at_0, _, expected, _ = BY_HAND[loss]
    losses, chosen, rejected = f_dpo_loss(
        Objective(loss, 2.0, 0.5), vector(LN2 - 7), vector(-5.0), vector(-7.0), vector(-5.0)
    )
    torch.testing.assert_close(chosen - rejected, vector(2 * (at_ln2 - at_0)), rtol=1e-13, atol=0)
    torch.testing.assert_close(losses, vector(expected), rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("loss", BY_HAND)
def test_a_policy_equal_to_the_reference_has_no_margin(loss):
    logps = vector(-3.0, -200.0, 0.0), vector(-9.0, -1.0, 0.0)
    losses, chosen, rejected = f_dpo_loss(Objective(loss, 2.0, 0.5), *logps, *logps)
    assert torch.equal(chosen, rejected)
    torch.testing.assert_close(losses, torch.full_like(losses, BY_HAND[loss][5]))


# Divergence by shape, at β = 2 for a pair with ρ = ln 2 for the chosen and 0 for the rejected, from
# the difference d of the links above: hinge is max(0, 1 − 2d) and squared (d − 1/4)².
SEVEN = ["sigmoid", "jsd", "fkl", "alpha", "jeffreys", "chi2", "squared"]
CROSSED_BY_HAND = {
    "jsd": (1 - 2 * math.log(4 / 3), (math.log(4 / 3) - 1 / 4) ** 2),
    "fkl": (0, 1 / 16),
    "alpha": (0, (7 / 4 - SQRT2) ** 2),
    "jeffreys": (0, (LN2 + 1 / 4) ** 2),
    "chi2": (0, (LN2 + 3 / 4) ** 2),
    "squared": (1 - LN2, (LN2 / 2 - 1 / 4) ** 2),
}


@pytest.mark.parametrize("divergence", CROSSED_BY_HAND)
def test_a_pair_by_hand_with_each_shape(divergence):
    logps = vector(LN2 - 7), vector(-5.0), vector(-7.0), vector(-5.0)
    for shape, expected in zip(("hinge", "squared"), CROSSED_BY_HAND[divergence], strict=True):
        losses, *_ = f_dpo_loss(Objective(f"{divergence}-{shape}", 2.0, 0.5), *logps)
        torch.testing.assert_close(losses, vector(expected), rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("loss", LOSSES)
def test_mean_divides_each_completion_by_its_tokens_counted_from_the_reference(loss):
    """ρ = ln 2 over 4 tokens against ρ = −ln 2 over 2, and both untrained: no margin there."""
    objective = Objective(loss, 2.0, 0.5, normalize="mean")
    zeros, lengths = vector(0, 0), (torch.tensor([4, 4]), torch.tensor([2, 2]))
    logps = vector(LN2, 0), vector(-LN2, 0), zeros, zeros
    losses, chosen, rejected = f_dpo_loss(objective, *logps, *lengths)
    up, at_0, down = BY_HAND[loss.split("-")[0]][1:4]
    torch.testing.assert_close(chosen, vector((up - at_0) / 2, 0), rtol=1e-13, atol=1e-15)
    torch.testing.assert_close(rejected, vector(down - at_0, 0), rtol=1e-13, atol=1e-15)
    margin = chosen - rejected
    torch.testing.assert_close(losses, LOSSES[loss].preference_loss(margin, 2.0))


def test_smoothing_and_noise_by_hand():
    """At a margin of ln 2 the logistic loss is ln(3/2), the wrong way round ln 3."""
    logps = vector(LN2), vector(0), vector(0), vector(0)
    right, wrong = math.log(3 / 2), math.log(3)
    for settings, expected in (
        ({"label_smoothing": 0.1}, 0.9 * right + 0.1 * wrong),
        ({"label_noise": 0.1}, (0.9 * right - 0.1 * wrong) / 0.8),
    ):
        losses, *_ = f_dpo_loss(Objective("sigmoid", 1.0, 0.5, **settings), *logps)
        torch.testing.assert_close(losses, vector(expected), rtol=1e-13, atol=0)


@pytest.mark.parametrize("loss", LOSSES)
def test_label_noise_undoes_flips_in_the_mean(loss):
    """Robust DPO is unbiased: of a share ε of flipped labels its mean is the loss without flips."""
    chosen, rejected, flips = vector(0.3, -1.0), vector(-0.2, 0.4), 0.2
    clean = Objective(loss, 0.7, 0.5).preference_loss(chosen, rejected)
    robust = Objective(loss, 0.7, 0.5, label_noise=flips).preference_loss
    mean = (1 - flips) * robust(chosen, rejected) + flips * robust(rejected, chosen)
    torch.testing.assert_close(mean, clean)


def test_chosen_nll_by_hand():
    """−log π(chosen) = 7 − ln 2 over 4 tokens, half of it on top of the loss."""
    logps = vector(LN2 - 7), vector(-5.0), vector(-7.0), vector(-5.0)
    plain, *_ = f_dpo_loss(Objective("fkl", 2.0, 0.5), *logps)
    objective = Objective("fkl", 2.0, 0.5, chosen_nll=0.5)
    losses, *_ = f_dpo_loss(objective, *logps, vector(4), vector(2))
    torch.testing.assert_close(losses - plain, vector((7 - LN2) / 8))


@pytest.mark.parametrize("settings", [{"normalize": "mean"}, {"chosen_nll": 0.1}])
def test_lengths_are_needed(settings):
    objective = Objective("ipo", 1.0, 0.5, **settings)
    assert objective.needs_lengths
    with pytest.raises(ValueError, match="need the completions' lengths"):
        f_dpo_loss(objective, *[vector(-1.0)] * 4)


@pytest.mark.parametrize("normalize", ["sum", "mean"])
@pytest.mark.parametrize("loss", LOSSES)
def test_autodiff_gives_the_gradients_that_finite_differences_give(loss, normalize):
    objective = Objective(loss, 0.7, 0.4, normalize, label_smoothing=0.1, chosen_nll=0.2)
    logps = [vector(-3.1, -2.0, grad=True), vector(-1.0, -4.2, grad=True)]
    references, lengths = (vector(-3.0, -2.5), vector(-1.4, -4.0)), (vector(3, 1), vector(2, 5))
    assert torch.autograd.gradcheck(
        lambda *pair: f_dpo_loss(objective, *pair, *references, *lengths)[0], logps
    )


RATIOS = torch.linspace(-3, 3, 13, dtype=torch.float64)


def test_alpha_to_0_is_reverse_kl_and_to_1_forward_kl():
    reverse, forward = (link(loss, RATIOS, 0.5) for loss in ("sigmoid", "fkl"))
    torch.testing.assert_close(link("alpha", RATIOS, 1e-9), reverse, atol=1e-8, rtol=0)
    torch.testing.assert_close(link("alpha", RATIOS, 1 - 1e-9) - 1, forward, atol=1e-7, rtol=0)


@pytest.mark.parametrize("loss", LOSSES)
def test_the_curvature_is_the_slope_of_the_link_at_the_reference(loss):
    ratio = vector(0.0, grad=True)
    link(loss, ratio, 0.3).backward()
    assert ratio.grad.item() == LOSSES[loss].curvature


@pytest.mark.parametrize("loss", LOSSES)
def test_only_a_loss_that_says_so_reads_alpha(loss):
    reads = not torch.equal(link(loss, RATIOS, 0.3), link(loss, RATIOS, 0.6))
    assert reads == ("alpha" in LOSSES[loss].parameters)


@pytest.mark.parametrize("alpha", [0.5, 0.9, 0.999, 1 - 1e-6])
def test_the_slope_of_alpha_is_exact_far_from_the_reference(alpha):
    """g′(ρ) = e^(−αρ); differentiating expm1 as its value plus 1 gives 0 here in float32."""
    ratios = torch.tensor([1.0, 5.0, 20.0, 40.0, 80.0], requires_grad=True)
    link("alpha", ratios, alpha).sum().backward()
    exact = torch.exp(-alpha * ratios.detach().double()).float()
    torch.testing.assert_close(ratios.grad, exact, rtol=2e-5, atol=0)


# Losses that fall as the margin grows; the squared shape's rise again past their target.
FALLING = [loss for loss in BY_HAND if LOSSES[loss].preference_loss is not squared_distance]
# Links that rise with the log-ratio; SquaredPO's falls again past an e-fold of the reference.
RISING = [loss for loss in BY_HAND if LOSSES[loss].link is not squared_link]
EXTREMES = [-1e4, -1e3, -89.0, 0.0, 89.0, 1e3, 1e4]


def at_extremes(objective, dtype) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Losses and both gradients at every two of `EXTREMES`."""
    grid = torch.cartesian_prod(torch.tensor(EXTREMES), torch.tensor(EXTREMES)).to(dtype)
    chosen, rejected = (side.clone().requires_grad_() for side in grid.T)
    zeros, lengths = torch.zeros_like(chosen), torch.full_like(chosen, 20)
    losses, *_ = f_dpo_loss(objective, chosen, rejected, zeros, zeros, lengths, lengths)
    losses.sum().backward()
    return losses, chosen.grad, rejected.grad


@pytest.mark.parametrize("loss", [loss for loss in FALLING if loss in RISING])
@pytest.mark.parametrize("alpha", [1e-3, 0.5, 0.999])
@pytest.mark.parametrize("beta", [1e-3, 0.1, 1e3])
def test_extreme_log_ratios_give_finite_losses_and_gradients_of_the_right_sign(loss, alpha, beta):
    objective = Objective(loss, beta, alpha)
    losses, chosen, rejected = at_extremes(objective, torch.float32)
    assert losses.isfinite().all()
    assert (losses >= 0).all()
    _, exact_chosen, exact_rejected = at_extremes(objective, torch.float64)
    # More of the chosen, less of the rejected; nothing only where float32 cannot hold it.
    for gradient, exact, sign in ((chosen, exact_chosen, -1), (rejected, exact_rejected, 1)):
        assert gradient.isfinite().all()
        assert (sign * gradient >= 0).all()
        assert (sign * gradient > 0)[sign * exact > 1e-30].all()
        assert (sign * exact > 1e-30).any()


@pytest.mark.parametrize("normalize", ["sum", "mean"])
@pytest.mark.parametrize("loss", LOSSES)
def test_extremes_are_finite_for_every_shape_and_normalisation(loss, normalize):
    """Links there are e^60 · 10⁸ at most, whose square float32 does not hold."""
    objective = Objective(loss, 0.1, 0.5, normalize)
    assert all(values.isfinite().all() for values in at_extremes(objective, torch.float32))


def test_the_squared_shape_goes_on_smoothly_past_its_bound():
    """At 2·10⁶ it is 10¹²(1 + 2 ln 2) with the slope 2·10¹²/(2·10⁶) = 10⁶."""
    margin = vector(0.5 + 2e6, 0.5 + 1e6, grad=True)
    losses = squared_distance(margin, 1.0)
    losses.sum().backward()
    torch.testing.assert_close(losses, vector(1e12 * (1 + 2 * LN2), 1e12), rtol=1e-12, atol=0)
    assert margin.grad[0].item() == pytest.approx(1e6)


@pytest.mark.parametrize("beta", [1e-3, 0.1, 1.0])
def test_squared_draws_a_chosen_completion_to_an_e_fold_of_the_reference_from_either_side(beta):
    ratios = [-1e4, -1e3, -89.0, -1.0, 0.0, 0.9, 1.1, 5.0, 20.0, 1e4]
    chosen = torch.tensor(ratios, requires_grad=True)
    zeros = torch.zeros_like(chosen)
    losses, *_ = f_dpo_loss(Objective("squared", beta, 0.5), chosen, zeros, zeros, zeros)
    losses.sum().backward()
    assert losses.isfinite().all()
    assert chosen.grad.isfinite().all()
    assert chosen.grad.sign().tolist() == [-1] * 6 + [1] * 3 + [0]  # e^-10000 is 0


@pytest.mark.parametrize("loss", BY_HAND)
def test_a_pair_gone_all_wrong_is_pulled_back(loss):
    """Chosen ρ = -10⁴, rejected 0: the gradient must not have been rounded or clamped away."""
    chosen = torch.tensor([-1e4], requires_grad=True)
    zero = torch.zeros(1)
    losses, *_ = f_dpo_loss(Objective(loss, 0.1, 0.5), chosen, zero, zero, zero)
    losses.sum().backward()
    assert chosen.grad.item() <= -0.09  # at least β σ(-Δ), as for sigmoid


@pytest.mark.parametrize(("loss", "alpha"), [("fkl", 0.5), ("alpha", 0.5), ("alpha", 0.9)])
def test_the_linear_extension_meets_the_formula_smoothly(loss, alpha):
    exponent = 1.0 if loss == "fkl" else alpha
    threshold = -MAX_EXPONENT / exponent
    step = 1e-9 * abs(threshold)
    ratios = vector(threshold + step, threshold, threshold - step, 2 * threshold, grad=True)
    values = link(loss, ratios, alpha)
    values.sum().backward()
    slope = math.exp(MAX_EXPONENT)
    torch.testing.assert_close(ratios.grad, torch.full_like(ratios, slope), rtol=1e-6, atol=0)
    inside = -slope / exponent
    torch.testing.assert_close(values[:3], vector(inside, inside, inside), rtol=1e-6, atol=0)
    assert values[3].item() == pytest.approx(inside + slope * threshold, rel=1e-9)


@given(loss=st.sampled_from(sorted(RISING)), ratio=st.floats(-25, 10), step=st.floats(1e-3, 5))
def test_the_link_is_monotone_where_it_has_not_flattened(loss, ratio, step):
    low, high = link(loss, vector(ratio, ratio + step), 0.5).tolist()
    assert low < high


@given(loss=st.sampled_from(FALLING), margin=st.floats(-50, 50))
def test_the_loss_falls_with_the_margin(loss, margin):
    zero = vector(0.0)
    here, further = (
        Objective(loss, 1.0, 0.5).preference_loss(vector(m), zero).item()
        for m in (margin, margin + 1)
    )
    assert further <= here
    assert here > 0 or LOSSES[loss].preference_loss is hinge


def test_near_zero_alpha_keeps_its_digits():
    """1 - e^{-αρ} cancels near 0; in float32 the naive form would be off by a percent here."""
    value = link("alpha", torch.tensor([1e-5]), 0.5).item()
    assert value == pytest.approx(1e-5 * (1 - 2.5e-6), rel=1e-6)


def test_the_implicit_reward_is_beta_times_the_link():
    reward = Objective("fkl", 4.0, 0.5).implicit_reward(vector(-1.0 + LN2), vector(-1.0))
    torch.testing.assert_close(reward, vector(-2.0), rtol=1e-14, atol=0)


def test_an_unknown_loss_is_refused():
    with pytest.raises(ValueError, match="unknown loss 'kto'; choose one of sigmoid, hinge, jsd"):
        Objective("kto", 0.1, 0.5)
