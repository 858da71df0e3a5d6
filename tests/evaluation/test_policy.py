"""A policy is evaluated as what it was trained as, and what a user names is never to be deleted."""

import copy
import json
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import PreTrainedModel

from fdpo.core.errors import UserError
from fdpo.core.files import write_json
from fdpo.evaluation.policy import load_policy, require_trained_with
from tests.support import tiny
from tests.support.tiny_trainer import move_adapter

TRAINED = {"study": "mine", "loss": "jsd", "beta": 0.3, "lr": 1e-5, "lora": {"r": 8}}


@pytest.fixture
def policy(tmp_path) -> Path:
    write_json(tmp_path / "policy/objective.json", TRAINED)
    return tmp_path / "policy"


def test_a_policy_trained_with_the_params_is_taken(policy):
    require_trained_with(policy, json.loads(json.dumps(TRAINED)))


@pytest.mark.parametrize(
    ("key", "value"), [("beta", 0.5), ("loss", "fkl"), ("study", "other"), ("lora", {"r": 9})]
)
def test_a_policy_trained_with_others_is_refused(policy, key, value):
    with pytest.raises(UserError) as refused:
        require_trained_with(policy, TRAINED | {key: value})
    assert str(refused.value).startswith(f"{policy}: trained with {key} = {TRAINED[key]}, ")


def test_a_folder_that_a_user_names_is_not_to_be_deleted(tmp_path):
    with pytest.raises(UserError) as refused:
        load_policy(tiny.llama(), tmp_path, "name another adapter")
    assert str(refused.value) == (
        f"{tmp_path}/adapter_model.safetensors: missing; name another adapter"
    )


def adapter_of(model: PreTrainedModel, folder: Path, *modules: str) -> Path:
    """A saved LoRA adapter of `model` with weights of its own."""
    wide = any(module in ("c_attn", "c_proj") for module in modules)
    config = LoraConfig(
        r=2, target_modules=list(modules), task_type="CAUSAL_LM", fan_in_fan_out=wide
    )
    adapted = get_peft_model(copy.deepcopy(model), config)
    move_adapter(adapted)
    adapted.save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    ("build", "modules", "tied"),
    [
        (tiny.llama, ("q_proj", "v_proj"), ()),
        (tiny.gpt2, ("c_attn",), ()),
        (tiny.gpt2, ("wte",), ("lm_head",)),
    ],
)
def test_the_policy_shares_what_the_adapter_leaves_alone(build, modules, tied, tmp_path):
    reference = build(torch.float32)
    before = {name: weight.clone() for name, weight in reference.state_dict().items()}
    folder = adapter_of(reference, tmp_path, *modules)
    alone = PeftModel.from_pretrained(copy.deepcopy(reference), str(folder)).merge_and_unload()

    policy = load_policy(reference, folder)
    for name, weight in policy.state_dict().items():
        assert torch.equal(weight, alone.state_dict()[name]), name
        shared = weight.data_ptr() == reference.state_dict()[name].data_ptr()
        adapted = name.split(".")[-2] in (*modules, *tied)
        assert shared != adapted, name
    for name, weight in reference.state_dict().items():
        assert torch.equal(weight, before[name]), f"{name} of the reference has changed"
