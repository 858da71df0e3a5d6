"""A trained policy: the reference with its adapter merged in, or a model of its own."""

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from fdpo.core.errors import UserError
from fdpo.core.files import read_json_object
from fdpo.decoding.decoder_probe import probe_model
from fdpo.losses import Objective
from fdpo.models.adapters import merged
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
    return merged(reference, policy, remedy)


def require_trained_with(policy: str | Path, expected: dict[str, Any]) -> None:
    """Raise `UserError` when the policy was trained with other params than `expected`."""
    found = read_json_object(Path(policy, "objective.json"))
    expected = json.loads(json.dumps(expected))
    for key in expected:
        if found.get(key) != expected[key]:
            raise UserError(
                f"{policy}: trained with {key} = {found.get(key)}, but the settings have"
                f" {expected[key]}; run `dvc repro --force --single-item train`, then `dvc repro`"
            )


def trained_objective(policy: str | Path) -> Objective:
    """What the policy was trained for, as objective.json beside its weights says."""
    found = read_json_object(Path(policy, "objective.json"))
    return Objective(**{x.name: found[x.name] for x in fields(Objective) if x.name in found})
