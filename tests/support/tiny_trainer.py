"""Trainers of tiny models."""

from collections.abc import Sequence
from pathlib import Path

import torch
from peft import LoraConfig
from torch import nn
from transformers import PreTrainedModel
from trl import DPOConfig

from fdpo.core.records import Pair
from fdpo.losses import Objective
from fdpo.training.trainer import FDPOTrainer
from tests.support import tiny

SIGMOID = Objective("sigmoid", 0.5, 0.5)


def build(
    model: PreTrainedModel,
    pairs: Sequence[Pair],
    folder: Path,
    adapter: LoraConfig,
    test: Sequence[Pair] | None = None,
    group_by_prompt: bool = True,
    objective: Objective = SIGMOID,
    **settings: object,
) -> FDPOTrainer:
    """A trainer of `model` on `pairs`; `settings` are those of TRL's DPOConfig."""
    plain: dict[str, object] = {
        "gradient_checkpointing": False,
        "logging_steps": 1,
        "save_strategy": "no",
        "bf16": False,
    }
    args = DPOConfig(output_dir=str(folder), report_to="none", use_cpu=True, **plain | settings)
    return FDPOTrainer(
        model=model,
        tokenizer=tiny.tokenizer(),
        train=pairs,
        test=pairs if test is None else test,
        args=args,
        objective=objective,
        peft_config=adapter,
        group_by_prompt=group_by_prompt,
        tokens_per_forward=16,
    )


def adapter_of(model: nn.Module) -> list[nn.Parameter]:
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


@torch.no_grad()
def copy_adapter(source: nn.Module, target: nn.Module) -> None:
    for theirs, ours in zip(adapter_of(target), adapter_of(source), strict=True):
        theirs.copy_(ours)


@torch.no_grad()
def move_adapter(model: nn.Module) -> None:
    """Give an adapter random values, so that the policy is not the reference."""
    generator = torch.Generator().manual_seed(0)
    for parameter in adapter_of(model):
        parameter.copy_(torch.randn(parameter.shape, generator=generator) / 8)


@torch.no_grad()
def recorded(
    reference: PreTrainedModel,
    prompt: Sequence[int],
    chosen: Sequence[int],
    rejected: Sequence[int],
) -> Pair:
    """A pair with its log-probabilities under `reference`, which attends by "sdpa"."""
    logps = (tiny.plain_logp(reference, prompt, side).item() for side in (chosen, rejected))
    return tiny.pair(prompt, chosen, rejected, *logps)
