"""A policy is evaluated as what it was trained as, and what a user names is never to be deleted."""

import json
from pathlib import Path

import pytest

from fdpo.core.errors import UserError
from fdpo.core.files import write_json
from fdpo.evaluation.policy import load_policy, require_trained_with
from tests.support import tiny

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
