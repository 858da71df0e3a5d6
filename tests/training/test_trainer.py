"""FDPOTrainer over whole runs: a plain AdamW loop does the same, and what it logs is per pair."""

import math
from collections import Counter
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from peft import LoraConfig, get_peft_model

from fdpo.core.errors import UserError
from fdpo.losses import Objective, f_dpo_loss
from fdpo.models.causal_lm import attention_implementation, is_linear
from fdpo.models.micro_batches import micro_batches, to_trl_columns
from fdpo.training.callbacks import StopAfter
from fdpo.training.pair_order import PromptOrder
from tests.models.families import SUPPORTED
from tests.support import tiny, tiny_trainer
from tests.support.tiny_trainer import SIGMOID, adapter_of, copy_adapter, move_adapter, recorded

ADAPTER = LoraConfig(r=2, lora_alpha=4, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
TEXTS = [  # 5 pairs of 3 prompts
    ([3, 1], [4, 1, 5], [9, 2]),
    ([3, 1], [4, 1, 5], [6]),
    ([5], [8, 9, 7, 9], [3, 2]),
    ([5], [3, 2], [3, 8]),
    ([2, 6, 4], [3], [3, 8, 3]),
]


def reference(dtype: torch.dtype = torch.float64):
    model = tiny.llama(dtype)
    model.set_attn_implementation("sdpa")
    return model


def pairs(dtype: torch.dtype = torch.float64):
    model = reference(dtype)
    return [recorded(model, *texts) for texts in TEXTS]


# What the settings of `train` can change of the loss, all of it at once.
MEAN = Objective("jsd", 0.5, 0.5, normalize="mean", label_smoothing=0.1, chosen_nll=0.2)


def plain_loss(policy, pair, objective: Objective) -> torch.Tensor:
    """DPO, or with `MEAN` jsd per token, a tenth of it the wrong way round, and the chosen NLL."""
    sides = (pair.chosen_ids, pair.rejected_ids)
    logps = [tiny.plain_logp(policy, pair.prompt_ids, side) for side in sides]
    ratios = logps[0] - pair.ref_chosen_logp, logps[1] - pair.ref_rejected_logp
    if objective is SIGMOID:
        return -F.logsigmoid(0.5 * (ratios[0] - ratios[1]))
    chosen, rejected = (
        0.5 * (math.log(2) + F.logsigmoid(ratio)) / len(side)
        for ratio, side in zip(ratios, sides, strict=True)
    )
    flipped = 0.9 * F.logsigmoid(chosen - rejected) + 0.1 * F.logsigmoid(rejected - chosen)
    return -flipped - 0.2 * logps[0] / len(sides[0])


def plain_run(policy, settings: dict, group: bool, objective: Objective) -> list[float]:
    """Train as the trainer should: AdamW, linear decay, clipped, a pair and a sequence at a time.

    Returns the loss of each step.
    """
    data, size, epochs = pairs(), settings["per_device_train_batch_size"], 3
    optimizer = torch.optim.AdamW(adapter_of(policy), settings["learning_rate"], weight_decay=0)
    order = PromptOrder([pair.prompt_ids for pair in data], settings["seed"], group)
    steps = []
    for epoch in range(epochs):
        order.set_epoch(epoch)
        indices = list(order)
        steps += [indices[start : start + size] for start in range(0, len(indices), size)]
    losses = []
    for number, step in enumerate(steps):
        loss = torch.stack([plain_loss(policy, data[index], objective) for index in step]).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(adapter_of(policy), settings["max_grad_norm"])
        for group in optimizer.param_groups:
            group["lr"] = settings["learning_rate"] * (1 - number / len(steps))
        optimizer.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize(("group", "objective"), [(True, SIGMOID), (False, SIGMOID), (True, MEAN)])
def test_a_run_is_that_of_a_plain_loop_over_pairs(group, objective, tmp_path):
    settings = {
        "seed": 3,
        "learning_rate": 0.02,
        "per_device_train_batch_size": 2,  # 5 pairs: the last step of an epoch has one
        "max_grad_norm": 0.3,
    }
    trainer = tiny_trainer.build(
        tiny.llama(),
        pairs(),
        tmp_path,
        ADAPTER,
        group_by_prompt=group,
        objective=objective,
        num_train_epochs=3,
        lr_scheduler_type="linear",
        optim="adamw_torch_fused",
        **settings,
    )
    plain = get_peft_model(reference(), ADAPTER)
    copy_adapter(trainer.model, plain)
    trainer.train()
    losses = plain_run(plain, settings, group, objective)

    logged = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert logged == pytest.approx(losses, rel=1e-5)
    assert losses[-1] < losses[0]
    for trained, expected in zip(adapter_of(trainer.model), adapter_of(plain), strict=True):
        torch.testing.assert_close(trained, expected, rtol=1e-7, atol=1e-9)


def test_gradient_checkpointing_runs_layers_again_and_changes_nothing(tmp_path):
    adapters, calls = [], []
    for checkpointing in (False, True):
        trainer = tiny_trainer.build(
            tiny.llama(),
            pairs(),
            tmp_path,
            ADAPTER,
            test=pairs()[:1],
            max_steps=2,
            gradient_checkpointing=checkpointing,
        )
        count = Counter()
        first = trainer.causal_lm.model.layers[0].input_layernorm
        first.register_forward_hook(lambda *_, count=count: count.update("a"))
        trainer.train()
        calls.append(count.total())
        adapters.append(adapter_of(trainer.model))
    assert calls[1] == 2 * calls[0] > 0
    for first, second in zip(*adapters, strict=True):
        torch.testing.assert_close(first, second, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("objective", [SIGMOID, Objective("fkl", 0.5, 0.5), MEAN])
def test_evaluation_is_a_mean_over_pairs_though_the_last_batch_is_smaller(objective, tmp_path):
    data = pairs()
    trainer = tiny_trainer.build(
        tiny.llama(), data[:1], tmp_path, ADAPTER, test=data, per_device_eval_batch_size=3
    )
    move_adapter(trainer.model)
    trainer.objective = objective
    metrics = trainer.evaluate()

    plain = get_peft_model(reference(), ADAPTER)
    copy_adapter(trainer.model, plain)
    with torch.no_grad():
        logps = torch.tensor(
            [
                [tiny.plain_logp(plain, prompt, side).item() for side in sides]
                for prompt, *sides in TEXTS
            ],
            dtype=torch.float64,
        )
    references = torch.tensor(
        [[pair.ref_chosen_logp, pair.ref_rejected_logp] for pair in data], dtype=torch.float64
    )
    lengths = torch.tensor([[len(chosen), len(rejected)] for _, chosen, rejected in TEXTS]).T
    losses, chosen, rejected = f_dpo_loss(objective, *logps.T, *references.T, *lengths)
    untrained, *_ = f_dpo_loss(objective, *references.T, *references.T, *lengths)
    assert losses.std() > 0.05
    assert metrics["eval_loss"] == pytest.approx(losses.mean().item(), rel=1e-6)
    capped = losses.minimum(2 * untrained).mean().item()
    assert metrics["eval_loss_capped"] == pytest.approx(capped, rel=1e-6)
    assert metrics["eval_loss_median"] == pytest.approx(losses.median().item(), rel=1e-6)
    assert metrics["eval_loss_fell"] == (losses < untrained).double().mean().item()
    margins = chosen - rejected
    assert metrics["eval_rewards/margins"] == pytest.approx(margins.mean().item(), rel=1e-9)
    assert metrics["eval_rewards/accuracies"] == (margins > 0).double().mean().item()


RANDOM_FAMILIES = {
    "OPT": SUPPORTED["OPT"],  # dropout by a function, layers left out
    "Starcoder2": replace(
        SUPPORTED["Starcoder2"],
        settings=SUPPORTED["Starcoder2"].settings
        | {"residual_dropout": 0.3, "embedding_dropout": 0.3, "attention_dropout": 0.3},
    ),
    "Mixtral": replace(
        SUPPORTED["Mixtral"],
        settings=SUPPORTED["Mixtral"].settings | {"router_jitter_noise": 0.3},
    ),
}


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("name", RANDOM_FAMILIES)
def test_training_is_not_random_though_the_model_asks_for_it(name, checkpointing, tmp_path):
    model = RANDOM_FAMILIES[name].build()
    with attention_implementation(model, "eager"):
        data = [recorded(model, *texts) for texts in TEXTS]
    settings = {"gradient_checkpointing": checkpointing}
    trainer = tiny_trainer.build(model, data, tmp_path, ADAPTER, **settings)
    steps = [
        (
            trainer.training_step(trainer.model, micro_batches(to_trl_columns(data), 16)),
            gradients(trainer),
        )
        for _ in range(3)
    ]
    assert trainer.model.training
    for loss, gradient in steps:
        assert loss.item() == pytest.approx(math.log(2), rel=1e-5)  # sigmoid at margin 0
        assert torch.equal(gradient, steps[0][1])
    assert steps[0][1].norm() > 0


def gradients(trainer) -> torch.Tensor:
    gradient = torch.cat([parameter.grad.flatten() for parameter in adapter_of(trainer.model)])
    trainer.model.zero_grad()
    return gradient


@pytest.mark.parametrize("name", SUPPORTED)
def test_a_run_of_any_family_begins_at_margin_0(name, tmp_path):
    model = SUPPORTED[name].build()
    with attention_implementation(model, "eager"):
        data = [recorded(model, *texts) for texts in TEXTS]
    linear = [key for key, module in model.base_model.named_modules() if is_linear(module)]
    layers = [key for key in linear if "lm_head" not in key][:2]
    adapter = LoraConfig(r=2, target_modules=layers, task_type="CAUSAL_LM")
    trainer = tiny_trainer.build(model, data, tmp_path, adapter, num_train_epochs=1)
    trainer.train()
    first = next(entry for entry in trainer.state.log_history if "rewards/margins" in entry)
    assert abs(first["rewards/margins"]) < 1e-4


def test_a_run_that_does_not_begin_at_the_reference_is_refused(tmp_path):
    data = [
        pair.model_copy(update={"ref_chosen_logp": pair.ref_chosen_logp - 1.5}) for pair in pairs()
    ]
    trainer = tiny_trainer.build(tiny.llama(), data, tmp_path, ADAPTER)
    with pytest.raises(UserError, match=r"0\.75 nats off the recorded ones .* `dvc repro --force"):
        trainer.train()
    assert trainer.state.global_step == 0


def test_the_own_objective_is_logged_before_during_and_after(tmp_path):
    trainer = tiny_trainer.build(
        tiny.llama(), pairs(), tmp_path, ADAPTER, max_steps=6, eval_strategy="steps", eval_steps=3
    )
    trainer.train()
    logged = [entry for entry in trainer.state.log_history if "eval_loss" in entry]
    assert [entry["step"] for entry in logged] == [0, 3, 6]
    assert logged[0]["eval_loss"] == pytest.approx(math.log(2), rel=1e-9)


def test_a_run_that_stops_early_is_the_beginning_of_the_whole_one(tmp_path):
    stopped, whole = (tiny_trainer.build(tiny.llama(), pairs(), tmp_path, ADAPTER) for _ in "ab")
    copy_adapter(whole.model, stopped.model)
    stopped.add_callback(StopAfter(2))
    stopped.train()
    whole.train()
    assert stopped.state.global_step == 2 < whole.state.global_step

    def rates_and_losses(trainer):
        steps = [entry for entry in trainer.state.log_history if "loss" in entry]
        return [(entry["learning_rate"], entry["loss"]) for entry in steps]

    assert rates_and_losses(stopped) == rates_and_losses(whole)[:2]
