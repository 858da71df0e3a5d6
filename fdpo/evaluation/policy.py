"""A trained policy: the reference with its adapter merged in, or a model of its own."""

import json
import warnings
from pathlib import Path
from typing import Any

from peft import PeftModel
from transformers import PreTrainedModel

from fdpo.core.errors import UserError
from fdpo.core.files import read_json
from fdpo.core.weights import require_finite, require_safetensors, short_message
from fdpo.models.causal_lm import load_causal_lm

RETRAIN = "delete the folder and run `dvc repro` to train it again"


def load_policy(
    reference: str | Path, adapter: str | Path, remedy: str = RETRAIN
) -> PreTrainedModel:
    """Load the reference, merge the LoRA adapter into its weights and return it.

    A merged policy decodes as fast as the reference. A folder that holds a whole model, as training
    without LoRA leaves it, is loaded as it is. Raises `UserError` when the adapter is missing,
    damaged or made for another model.
    """
    if Path(adapter, "model.safetensors").exists():
        return load_causal_lm(adapter)
    model = load_causal_lm(reference)
    require_safetensors(adapter, "adapter_model.safetensors", remedy)
    _require_lora(Path(adapter) / "adapter_config.json", remedy)
    try:
        with warnings.catch_warnings():
            # They would be as before training, and so would be the policy.
            warnings.filterwarnings("error", message="Found missing adapter keys")
            policy = PeftModel.from_pretrained(model, str(adapter)).merge_and_unload()
    except Exception as error:  # what a damaged file leads to is not documented
        raise UserError(
            f"{adapter}: not an adapter of {reference} ({short_message(error)}); {remedy}"
        ) from None
    require_finite(policy, adapter, remedy)
    return policy


def require_trained_with(policy: str | Path, expected: dict[str, Any]) -> None:
    """Raise `UserError` when the policy was trained with other params than `expected`."""
    found = read_json(Path(policy, "objective.json"))
    expected = json.loads(json.dumps(expected))
    for key in expected:
        if found.get(key) != expected[key]:
            raise UserError(
                f"{policy}: trained with {key} = {found.get(key)}, but params.yaml has"
                f" {expected[key]}; to train it with that run"
                " `dvc repro --force --single-item train`, then `dvc repro`"
            )


def _require_lora(path: Path, remedy: str) -> None:
    """Raise `UserError` when the config is missing (PEFT would ask the Hub) or of another kind."""
    config = read_json(path)
    kind = config.get("peft_type") if isinstance(config, dict) else None
    if kind != "LORA":
        raise UserError(f"{path}: peft_type = {kind!r}: must be LORA; {remedy}")
