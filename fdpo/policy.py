"""A trained policy: the reference with its adapter merged in."""

from pathlib import Path

from peft import PeftModel
from safetensors import SafetensorError
from transformers import PreTrainedModel

from fdpo.errors import UserError
from fdpo.models import load_causal_lm


def load_policy(reference: str | Path, adapter: str | Path) -> PreTrainedModel:
    """Load the reference, merge the LoRA adapter into its weights and return it.

    A merged policy decodes as fast as the reference. Raises `UserError` when the adapter is
    missing, damaged or made for another model.
    """
    model = load_causal_lm(reference)
    try:
        return PeftModel.from_pretrained(model, str(adapter)).merge_and_unload()
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        problem = str(error).strip().split("\n")[0][:200]
        raise UserError(
            f"{adapter}: not an adapter of {reference} ({problem}); "
            "delete the folder and run `dvc repro` to train it again"
        ) from None
