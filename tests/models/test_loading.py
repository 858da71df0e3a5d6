"""What a folder holds is what the model computes with, or it is refused by name."""

import copy
import json
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    Qwen2Config,
)

from fdpo.core.errors import UserError
from fdpo.models import causal_lm
from fdpo.models.adapters import merged
from tests.support import tiny
from tests.support.tiny_trainer import move_adapter

WEIGHTS, ADAPTER = "model.safetensors", "adapter_model.safetensors"


def edit(folder: Path, name: str, change) -> None:
    weights = load_file(folder / name)
    change(weights)
    save_file(weights, folder / name, {"format": "pt"})


def edit_json(path: Path, **changes) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.fixture
def saved(tmp_path) -> Path:
    tiny.llama(torch.float32).save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def qwen2(tied: bool) -> Qwen2Config:
    return Qwen2Config(
        vocab_size=37, hidden_size=16, intermediate_size=24, num_hidden_layers=1,
        num_attention_heads=4, num_key_value_heads=2, tie_word_embeddings=tied, pad_token_id=0,
    )  # fmt: skip


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize(
    "kind", [AutoModelForSequenceClassification, AutoModelForTokenClassification]
)
def test_a_classifier_is_no_reference(kind, tied, tmp_path):
    kind.from_config(qwen2(tied)).save_pretrained(tmp_path)
    edit_json(tmp_path / "config.json", architectures=["Qwen2ForCausalLM"])
    with pytest.raises(
        UserError, match=r"score\.(weight|bias), which Qwen2ForCausalLM .* does not use"
    ):
        causal_lm.load_causal_lm(tmp_path)


@pytest.mark.parametrize(
    "name",
    [
        "model.layers.0.self_attn.q_proj.bias",
        "v_head.summary.weight",
        "_orig_mod.model.norm.weight",
        "model.layers.2.mlp.up_proj.weight",
    ],
)
def test_weights_that_the_model_does_not_take_are_named(name, saved):
    edit(saved, WEIGHTS, lambda weights: weights.update({name: torch.ones(3)}))
    with pytest.raises(UserError, match=f"holds weights {name}, which"):
        causal_lm.load_causal_lm(saved)


@pytest.mark.parametrize("name", ["lm_head.weight", "model.layers.1.mlp.up_proj.weight"])
def test_weights_that_the_file_lacks_are_named(name, saved):
    edit(saved, WEIGHTS, lambda weights: weights.pop(name))
    with pytest.raises(UserError, match=f"no weights for {name}"):
        causal_lm.load_causal_lm(saved)


@pytest.mark.parametrize(
    "name",
    ["model.layers.0.self_attn.rotary_emb.inv_freq", "h.0.attn.masked_bias", "h.0.attn.bias"],
)
def test_constants_of_old_checkpoints_are_no_weights(name, saved):
    edit(saved, WEIGHTS, lambda weights: weights.update({name: torch.ones(2)}))
    causal_lm.load_causal_lm(saved)


def test_tied_weights_may_be_in_the_file_or_not(tmp_path):
    model = AutoModelForCausalLM.from_config(qwen2(tied=True))
    model.save_pretrained(tmp_path)
    head = model.lm_head.weight.detach().clone()
    for change in ({"lm_head.weight": head}, {}):
        edit(tmp_path, WEIGHTS, lambda weights, change=change: weights.update(change))
        loaded = causal_lm.load_causal_lm(tmp_path)
        assert torch.equal(loaded.lm_head.weight, loaded.model.embed_tokens.weight)


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"quantization_config": {"quant_method": "gptq"}}, "quantization_config = 'gptq'"),
        ({"attn_implementation": "flash_attention_2"}, "attn_implementation = 'flash_attention_2'"),
    ],
)
def test_what_rebuilding_would_not_correct_says_its_cause(changes, cause, saved):
    edit_json(saved / "config.json", **changes)
    with pytest.raises(UserError, match=cause) as refused:
        causal_lm.load_causal_lm(saved)
    assert "dvc repro" not in str(refused.value)


def adapter(model, folder: Path, *modules: str, **settings) -> Path:
    """A saved LoRA adapter of `model` with weights of its own."""
    config = LoraConfig(
        r=2,
        target_modules=list(modules),
        task_type="CAUSAL_LM",
        fan_in_fan_out="c_attn" in modules,
        **settings,
    )
    adapted = get_peft_model(copy.deepcopy(model), config)
    move_adapter(adapted)
    adapted.save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    ("build", "modules", "settings"),
    [
        (tiny.llama, ("q_proj", "v_proj"), {}),
        (tiny.llama, ("q_proj", "lm_head"), {"use_dora": True}),
        (tiny.llama, ("q_proj",), {"modules_to_save": ["embed_tokens"]}),
        (tiny.gpt2, ("c_attn",), {}),
    ],
)
def test_merged_is_the_model_with_its_adapter_and_shares_the_rest(
    build, modules, settings, tmp_path
):
    model = build(torch.float32)
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    folder = adapter(model, tmp_path, *modules, **settings)
    alone = PeftModel.from_pretrained(copy.deepcopy(model), str(folder)).merge_and_unload()

    result = merged(model, folder, "")
    for name, weight in result.state_dict().items():
        assert torch.equal(weight, alone.state_dict()[name]), name
        shared = weight.data_ptr() == model.state_dict()[name].data_ptr()
        assert shared == torch.equal(weight, before[name]), name
    for name, weight in model.state_dict().items():
        assert torch.equal(weight, before[name]), name


def narrow(folder: Path) -> None:
    edit_json(folder / "adapter_config.json", target_modules=["q_proj"])


def drop(folder: Path) -> None:
    edit(folder, ADAPTER, lambda weights: weights.pop(next(iter(weights))))


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (narrow, r"has weights .*v_proj\.lora_A.*, which adapter_config.json does not name"),
        (drop, r"no weights for .*lora_A"),
        (
            lambda folder: edit(folder, ADAPTER, lambda w: w[next(iter(w))].fill_(torch.nan)),
            "not finite",
        ),
        (lambda folder: edit_json(folder / "adapter_config.json", peft_type="IA3"), "must be LORA"),
        (
            lambda folder: edit_json(folder / "adapter_config.json", alora_invocation_tokens=[1]),
            "alora_invocation_tokens",
        ),
        (lambda folder: edit_json(folder / "adapter_config.json", r=3), "size mismatch"),
        (lambda folder: (folder / ADAPTER).unlink(), "missing"),
    ],
)
def test_an_adapter_that_is_not_what_its_config_says_is_refused(damage, problem, tmp_path):
    model = tiny.llama(torch.float32)
    folder = adapter(model, tmp_path, "q_proj", "v_proj")
    damage(folder)
    with pytest.raises(UserError, match=f"^{folder}.*{problem}.*; name another$"):
        merged(model, folder, "name another")


@pytest.mark.parametrize("module", ["lm_head", "wte"])
def test_an_adapter_of_one_of_two_tied_weights_is_refused(module, tmp_path):
    model = tiny.gpt2(torch.float32)
    folder = adapter(model, tmp_path, module)
    with pytest.raises(UserError, match=r"tied.* other log-probabilities than unmerged"):
        merged(model, folder, "")
