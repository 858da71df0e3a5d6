"""A trained policy as a folder: its weights, what it was trained with, and its card."""

from pathlib import Path
from typing import Any

from torch import Tensor

from fdpo.core.files import replacing, write_json
from fdpo.run import processes
from fdpo.training.model_card import model_card
from fdpo.training.trainer import FDPOTrainer


def save_policy(
    trainer: FDPOTrainer,
    folder: Path,
    training: dict[str, Any],
    reference: Path,
) -> None:
    """Write the policy to `folder`, whole or not at all; of several processes all call it.

    Args:
        trainer: after training; an adapter is saved alone, a policy without one as a whole model.
        folder: replaced when the new one is complete.
        training: the settings that the policy was trained with, for objective.json and the card.
        reference: the folder of the model that the policy was trained from.
    """
    policy: Any = trainer.model
    for adapter in getattr(policy, "peft_config", {}).values():
        # PEFT holds the names in a set, whose order changes from process to process.
        adapter.target_modules = sorted(adapter.target_modules)
    weights = _gathered(trainer) if trainer.is_fsdp_enabled else None
    if not processes.is_main():
        return
    with replacing(folder) as scratch:
        policy.save_pretrained(scratch, state_dict=weights)
        write_json(scratch / "objective.json", training)
        card = model_card(training, reference, policy=str(folder))
        (scratch / "README.md").write_text(str(card), encoding="utf-8")


def _gathered(trainer: FDPOTrainer) -> dict[str, Tensor]:
    """The whole of a sharded model on the main process; every process gives its part."""
    weights = trainer.accelerator.get_state_dict(trainer.model)
    tied = trainer.causal_lm.all_tied_weights_keys  # gathered twice, and no longer seen to be tied
    return {name: weight for name, weight in weights.items() if name not in tied}
