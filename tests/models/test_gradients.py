"""A step's losses and LoRA gradients are those of the plain pair-by-pair computation."""

import copy
import functools
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
import torch.nn.functional as F
from peft import LoraConfig, get_peft_model
from torch import Tensor
from transformers import PreTrainedModel

from fdpo.core.records import Pair
from fdpo.losses import Objective
from fdpo.models.micro_batches import micro_batches, to_trl_columns
from fdpo.training.trainer import FDPOTrainer
from tests.support import tiny, tiny_trainer
from tests.support.tiny_trainer import adapter_of, copy_adapter, move_adapter, recorded

BETA, ALPHA = 0.7, 0.3
MODELS = {"llama": (tiny.llama, ["q_proj", "v_proj"]), "gpt2": (tiny.gpt2, ["c_attn"])}
A, B, C = [4, 1, 5], [9, 2], [6, 5, 3]
STEPS = {  # (prompt, chosen, rejected) a pair
    "shared": [([3, 1], A, B), ([3, 1], A, C), ([3, 1], B, C)],
    "unshared": [([3, 1, 4], [1, 5], [9, 2]), ([5, 3], [5, 8], [9, 7])],
    "unequal": [
        ([3, 1, 4], [1, 5, 9, 2, 6, 5, 3, 5, 8, 9], [7]),
        ([2] * 9, [7, 1], [8, 2, 8, 1, 8]),
        ([3, 1, 4], [7], [1, 8]),
    ],
    "one token": [([3], [1], [4]), ([3], [4], [1]), ([2, 7], [1], [8])],
}


class Case(NamedTuple):
    """A trainer with an adapter that has moved, and a plain copy of its policy."""

    trainer: FDPOTrainer
    plain: PreTrainedModel
    steps: dict[str, list[Pair]]


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    """A case for a model and a precision, made once."""
    folder = tmp_path_factory.mktemp("trainer")
    return functools.cache(lambda name, dtype: build(name, dtype, folder))


def build(name: str, dtype: torch.dtype, folder: Path) -> Case:
    make, modules = MODELS[name]
    model = make(dtype)
    plain = copy.deepcopy(model)
    plain.set_attn_implementation("sdpa")
    steps = {step: [recorded(plain, *texts) for texts in pairs] for step, pairs in STEPS.items()}
    conv1d = {"fan_in_fan_out": name == "gpt2"}
    adapter = LoraConfig(r=2, lora_alpha=4, target_modules=modules, task_type="CAUSAL_LM", **conv1d)
    trainer = tiny_trainer.build(model, steps["shared"], folder, adapter)
    plain = get_peft_model(plain, adapter)
    move_adapter(trainer.model)
    copy_adapter(trainer.model, plain)
    return Case(trainer, plain, steps)


def plain_step(loss: str, model: PreTrainedModel, pairs: list[Pair]) -> tuple[Tensor, list[Tensor]]:
    """Mean loss and gradients, a pair and a sequence at a time, from the formulas as written."""
    links = {
        "sigmoid": lambda ratio: ratio,
        "hinge": lambda ratio: ratio,
        "jsd": lambda ratio: torch.log(2 * ratio.exp() / (1 + ratio.exp())),
        "fkl": lambda ratio: -1 / ratio.exp(),
        "alpha": lambda ratio: (1 - ratio.exp() ** -ALPHA) / ALPHA,
    }
    model.zero_grad()
    losses = []
    for pair in pairs:
        prompt = pair.prompt_ids
        chosen = tiny.plain_logp(model, prompt, pair.chosen_ids) - pair.ref_chosen_logp
        rejected = tiny.plain_logp(model, prompt, pair.rejected_ids) - pair.ref_rejected_logp
        margin = BETA * (links[loss](chosen) - links[loss](rejected))
        losses.append(F.relu(1 - margin) if loss == "hinge" else -torch.log(torch.sigmoid(margin)))
    mean = torch.stack(losses).mean()
    mean.backward()
    return mean.detach(), [parameter.grad.clone() for parameter in adapter_of(model)]


@pytest.mark.parametrize("tokens", [1, 10_000])
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("loss", ["sigmoid", "hinge", "jsd", "fkl", "alpha"])
@pytest.mark.parametrize(
    ("name", "dtype", "tolerance"),
    [
        ("llama", torch.float64, 1e-10),
        ("gpt2", torch.float64, 1e-10),
        ("llama", torch.float32, 1e-5),
    ],
)
def test_a_step_equals_the_pair_by_pair_computation(
    case, name, dtype, tolerance, loss, step, tokens
):
    trainer, plain, steps = case(name, dtype)
    pairs = steps[step]
    trainer.objective = Objective(loss, BETA, ALPHA)
    batches = micro_batches(to_trl_columns(pairs), tokens)
    trainer.model.zero_grad()
    returned = trainer.training_step(trainer.model, batches).item()
    gradients = [parameter.grad.clone() for parameter in adapter_of(trainer.model)]
    with torch.no_grad():
        parts = [trainer.compute_loss(trainer.model, b) * len(b.chosen) for b in batches]
    expected, expected_gradients = plain_step(loss, plain, pairs)

    torch.testing.assert_close(sum(parts) / len(pairs), expected.double(), rtol=tolerance, atol=0)
    assert returned == pytest.approx(expected.item(), rel=max(1e-6, tolerance))
    ours, theirs = (torch.cat([g.flatten() for g in gs]) for gs in (gradients, expected_gradients))
    assert (ours - theirs).norm() <= tolerance * theirs.norm()
    assert theirs.norm() > 1e-3
