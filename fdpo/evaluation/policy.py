"""A trained policy: the reference with its adapter merged in, or a model of its own."""

import copy
import json
import warnings
from pathlib import Path
from typing import Any

from peft import PeftModel
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn
from transformers import PreTrainedModel

from fdpo.core.errors import UserError
from fdpo.core.files import read_json, read_json_object
from fdpo.core.weights import require_finite, require_safetensors, short_message
from fdpo.decoding.decoder_probe import probe_model
from fdpo.models.causal_lm import load_causal_lm

RETRAIN = "run `dvc repro --force --single-item train` to train it again"


def load_policy(
    reference: PreTrainedModel,
    policy: str | Path,
    remedy: str = RETRAIN,
    longest: int | None = None,
) -> PreTrainedModel:
    """The policy in the folder `policy`: the reference with a LoRA adapter merged in, or a model.

    A merged policy decodes as fast as the reference, and it shares every weight with it that the
    adapter leaves alone, so that both take little more memory than one. A folder that holds a whole
    model, as training without LoRA leaves it, is loaded as it is, and checked like the reference up
    to texts of `longest` tokens: its weights are others, which may take other paths.

    Raises:
        UserError: the adapter is missing, damaged or made for another model; `remedy` says what to
            do then.
    """
    if Path(policy, "model.safetensors").exists():
        whole = load_causal_lm(policy, remedy)
        if longest is not None:
            probe_model(whole, longest)
        return whole
    require_safetensors(policy, "adapter_model.safetensors", remedy)
    _require_lora(Path(policy) / "adapter_config.json", remedy)
    try:
        with warnings.catch_warnings():
            # Adapter weights that the file lacks would be those before training: no change at all.
            warnings.filterwarnings("error", message="Found missing adapter keys")
            adapted = PeftModel.from_pretrained(_with_shared_weights(reference), str(policy))
        _unshare_adapted_weights(adapted)
        merged = adapted.merge_and_unload()
    except Exception as error:  # what a damaged file leads to is not documented
        raise UserError(
            f"{policy}: not an adapter of {reference.name_or_path} ({short_message(error)});"
            f" {remedy}"
        ) from None
    require_finite(merged, policy, remedy)
    return merged


def _with_shared_weights(model: PreTrainedModel) -> PreTrainedModel:
    """A copy of the model's modules that holds the model's own tensors."""
    tensors = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    return copy.deepcopy(model, tensors)


def _unshare_adapted_weights(model: PeftModel) -> None:
    """Give the model its own copy of what merging will write into; tied weights stay tied."""
    copies = {
        id(weight): nn.Parameter(weight.detach().clone(), requires_grad=False)
        for module in model.modules()
        if isinstance(module, BaseTunerLayer)
        for weight in module.get_base_layer().parameters()
    }
    for module in model.modules():
        for name, weight in list(module.named_parameters(recurse=False)):
            if id(weight) in copies:
                setattr(module, name, copies[id(weight)])


def require_trained_with(policy: str | Path, expected: dict[str, Any]) -> None:
    """Raise `UserError` when the policy was trained with other params than `expected`."""
    found = read_json_object(Path(policy, "objective.json"))
    expected = json.loads(json.dumps(expected))
    for key in expected:
        if found.get(key) != expected[key]:
            raise UserError(
                f"{policy}: trained with {key} = {found.get(key)}, but params.yaml has"
                f" {expected[key]}; run `dvc repro --force --single-item train`, then `dvc repro`"
            )


def _require_lora(path: Path, remedy: str) -> None:
    """Raise `UserError` when the config is missing (PEFT would ask the Hub) or of another kind."""
    config = read_json(path)
    kind = config.get("peft_type") if isinstance(config, dict) else None
    if kind != "LORA":
        raise UserError(f"{path}: peft_type = {kind!r}: must be LORA; {remedy}")
