"""A step's losses and LoRA gradients are those of the plain pair-by-pair computation."""

import copy
from itertools import product

import pytest
import torch
import torch.nn.functional as F
from peft import LoraConfig, get_peft_model
from torch import Tensor
from transformers import PreTrainedModel

from fdpo.core.records import Pair
from fdpo.losses import Objective
from fdpo.models.micro_batches import micro_batches, to_trl_columns
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


LINKS = {
    "sigmoid": lambda ratio: ratio,
    "hinge": lambda ratio: ratio,
    "jsd": lambda ratio: torch.log(2 * ratio.exp() / (1 + ratio.exp())),
    "fkl": lambda ratio: -1 / ratio.exp(),
    "alpha": lambda ratio: (1 - ratio.exp() ** -ALPHA) / ALPHA,
}


def plain_step(loss: str, model: PreTrainedModel, pairs: list[Pair]) -> tuple[Tensor, Tensor]:
    """Mean loss and its gradient, a pair and a sequence at a time, from the formulas as written."""
    losses = []
    for pair in pairs:
        prompt = pair.prompt_ids
        chosen = tiny.plain_logp(model, prompt, pair.chosen_ids) - pair.ref_chosen_logp
        rejected = tiny.plain_logp(model, prompt, pair.rejected_ids) - pair.ref_rejected_logp
        margin = BETA * (LINKS[loss](chosen) - LINKS[loss](rejected))
        losses.append(F.relu(1 - margin) if loss == "hinge" else -torch.log(torch.sigmoid(margin)))
    mean = torch.stack(losses).mean()
    gradients = torch.autograd.grad(mean, adapter_of(model))
    return mean.detach(), torch.cat([gradient.flatten() for gradient in gradients])


@pytest.mark.parametrize("loss", LINKS)
@pytest.mark.parametrize("name", MODELS)
def test_a_step_equals_the_pair_by_pair_computation(name, loss, tmp_path):
    make, modules = MODELS[name]
    model = make()
    plain = copy.deepcopy(model)
    plain.set_attn_implementation("sdpa")
    steps = [[recorded(plain, *texts) for texts in pairs] for pairs in STEPS.values()]
    conv1d = {"fan_in_fan_out": name == "gpt2"}
    adapter = LoraConfig(r=2, lora_alpha=4, target_modules=modules, task_type="CAUSAL_LM", **conv1d)
    trainer = tiny_trainer.build(model, steps[0], tmp_path, adapter)
    plain = get_peft_model(plain, adapter)
    move_adapter(trainer.model)
    copy_adapter(trainer.model, plain)
    trainer.objective = Objective(loss, BETA, ALPHA)
    for pairs, tokens in product(steps, (1, 10_000)):
        batches = micro_batches(to_trl_columns(pairs), tokens)
        trainer.model.zero_grad()
        returned = trainer.training_step(trainer.model, batches).item()
        gradient = torch.cat([weight.grad.flatten() for weight in adapter_of(trainer.model)])
        expected, expected_gradient = plain_step(loss, plain, pairs)
        assert returned == pytest.approx(expected.item(), rel=1e-6)
        assert expected_gradient.norm() > 1e-3
        assert (gradient - expected_gradient).norm() <= 1e-10 * expected_gradient.norm()
