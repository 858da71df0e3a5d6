"""What the section `train` offers beside numbers: where an adapter goes, and in what precision."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftConfig

from fdpo.config.params import check_params
from fdpo.config.study import Lora
from fdpo.config.yaml_files import read_yaml
from fdpo.core.errors import UserError
from fdpo.core.files import write_json
from fdpo.evaluation.policy import load_policy, trained_objective
from fdpo.losses import Objective
from fdpo.models.causal_lm import check_modules, load_causal_lm
from fdpo.training.saved_policy import save_policy
from fdpo.training.trl_config import lora_config
from tests.support import tiny, tiny_trainer
from tests.support.clone import ROOT

LINEAR = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
TEXTS = ([3, 1], [4, 1, 5], [9, 2])


def params(study: str = "embedded", **train: Any) -> tuple[dict, dict]:
    """The project's knobs and a study's sections, with other values in `train`."""
    sections = read_yaml(ROOT / f"studies/{study}.yaml")
    sections["train"] |= train
    return read_yaml(ROOT / "params.yaml") | {"study": study}, sections


def saved_reference(folder: Path) -> Path:
    tiny.llama(torch.float32).save_pretrained(folder)
    tiny.tokenizer().save_pretrained(folder)
    return folder


def recorded_pair():
    model = tiny.llama(torch.float32)
    model.set_attn_implementation("sdpa")
    return tiny_trainer.recorded(model, *TEXTS)


def test_an_adapter_of_all_linear_layers_is_scaled_by_the_root_of_its_rank(tmp_path):
    reference = load_causal_lm(saved_reference(tmp_path / "reference"))
    lora = Lora(r=4, alpha=8, target_modules="all-linear", rslora=True)
    check_modules(reference, lora.target_modules)
    trainer = tiny_trainer.build(reference, [recorded_pair()], tmp_path, lora_config(lora))
    layers = {
        name.rsplit(".", 1)[-1]: module.scaling["default"]
        for name, module in trainer.model.named_modules()
        if hasattr(module, "lora_A")
    }
    assert layers == dict.fromkeys(LINEAR, 8 / math.sqrt(4))  # and no head
    tiny_trainer.move_adapter(trainer.model)
    save_policy(trainer, tmp_path / "policy", {"loss": "sigmoid", "beta": 0.1}, tmp_path)
    config = json.loads((tmp_path / "policy/adapter_config.json").read_text())
    adapted = config["target_modules"]
    assert adapted == sorted(adapted)
    assert {name.rsplit(".", 1)[-1] for name in adapted} == LINEAR
    assert PeftConfig.from_pretrained(tmp_path / "policy").use_rslora
    fresh = load_causal_lm(tmp_path / "reference")
    loaded = load_policy(fresh, tmp_path / "policy").state_dict()
    merged = trainer.model.merge_and_unload().state_dict()
    for name, weight in merged.items():
        torch.testing.assert_close(loaded[name], weight)
    name = "model.layers.1.mlp.up_proj.weight"
    assert not torch.equal(loaded[name], fresh.state_dict()[name])


@pytest.mark.parametrize("computed", [False, True], ids=["float32", "bfloat16"])
def test_a_reference_held_in_bfloat16_is_trained_by_an_adapter_in_float32(computed, tmp_path):
    folder = saved_reference(tmp_path / "reference")
    model = load_causal_lm(folder, dtype=torch.bfloat16)
    adapter = lora_config(Lora(r=2, alpha=4, target_modules=["q_proj", "v_proj"]))
    data = [recorded_pair()]
    trainer = tiny_trainer.build(model, data, tmp_path, adapter, learning_rate=0.05, bf16=computed)
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert losses[0] == pytest.approx(math.log(2), abs=0.05)  # the rounding of recorded float32
    assert losses[-1] < losses[0]
    for name, weight in trainer.model.named_parameters():
        expected = torch.float32 if "lora_" in name else torch.bfloat16
        assert weight.dtype == expected, name


def test_settings_of_the_loss_reach_the_objective_and_its_record(tmp_path):
    wanted = {"normalize": "mean", "label_smoothing": 0.1, "chosen_nll": 0.2}
    settings = check_params(*params(**wanted))
    knobs = {"loss": settings.loss, "beta": settings.beta, "alpha": settings.alpha}
    assert settings.objective == Objective(**knobs, **wanted)
    assert check_params(*params()).objective == Objective(**knobs)
    write_json(tmp_path / "objective.json", settings.trained_with)
    assert trained_objective(tmp_path) == settings.objective


def test_weights_held_in_bfloat16_are_not_trained_themselves():
    knobs, study = params("imdb", lora=None)
    assert check_params(knobs, study)
    study["prepare"]["reference"]["dtype"] = "bfloat16"
    with pytest.raises(UserError, match=r"studies/imdb.yaml: train.lora = null"):
        check_params(knobs, study)
