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
    PreTrainedModel,
    Qwen2Config,
)

from fdpo.core.errors import UserError
from fdpo.models import causal_lm
from fdpo.models.adapters import merged
from tests.support import tiny
from tests.support.tiny_trainer import move_adapter

WEIGHTS, ADAPTER = "model.safetensors", "adapter_model.safetensors"
DOWN = "model.layers.0.mlp.down_proj.weight"


def edit(folder: Path, change, name: str = WEIGHTS) -> None:
    """Let `change` alter the file's weights, or give all of them."""
    weights = load_file(folder / name)
    given = change(weights)
    save_file(given if isinstance(given, dict) else weights, folder / name, {"format": "pt"})


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


def test_a_reward_model_is_no_reference(tmp_path):
    model = AutoModelForSequenceClassification.from_config(qwen2(tied=True))
    model.save_pretrained(tmp_path)
    edit_json(tmp_path / "config.json", architectures=["Qwen2ForCausalLM"])
    with pytest.raises(UserError, match=r"score\.weight, which its config.json does not"):
        causal_lm.load_causal_lm(tmp_path)


def with_weights(name: str):
    return lambda weights: weights.update({name: torch.ones(2)})


def quantise(weights) -> None:
    weights[f"{DOWN}.absmax"], weights[DOWN] = torch.ones(6), torch.ones(192, 1).byte()


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (with_weights("model.layers.0.self_attn.q_proj.bias"), "holds weights .*q_proj.bias"),
        (with_weights("v_head.summary.weight"), "holds weights v_head.summary.weight, which"),
        (quantise, rf"holds weights {DOWN}\.absmax, which its config.json does not name"),
        (lambda weights: weights.pop("lm_head.weight"), "no weights for lm_head.weight"),
        (
            lambda weights: {k.replace(".mlp.", ".mlp.module."): v for k, v in weights.items()},
            r"holds weights model\.layers\.0\.mlp\.module\.down_proj\.weight, which",
        ),
    ],
)  # fmt: skip
def test_weights_that_are_not_those_of_the_config_are_named(change, problem, saved):
    edit(saved, change)
    with pytest.raises(UserError, match=problem):
        causal_lm.load_causal_lm(saved)


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"quantization_config": {"quant_method": "gptq"}}, "quantised weights are not read"),
        ({"model_type": "llama9"}, "llama9"),
        ({"num_hidden_layers": 3}, "no weights for model.layers.2"),
        ({"num_key_value_heads": 4}, r"k_proj.weight are \[8, 16\], and \[16, 16\] by its"),
    ],
)
def test_what_rebuilding_would_not_correct_says_its_cause(changes, cause, saved):
    edit_json(saved / "config.json", **changes)
    with pytest.raises(UserError, match=cause) as refused:
        causal_lm.load_causal_lm(saved)
    assert "dvc repro" not in str(refused.value)


def test_a_damaged_file_is_to_be_rebuilt(saved):
    (saved / WEIGHTS).write_bytes((saved / WEIGHTS).read_bytes()[:5000])
    with pytest.raises(UserError, match=r"no readable causal LM \(.*\); run `dvc repro`"):
        causal_lm.load_causal_lm(saved)


@pytest.mark.parametrize("name", ["self_attn.rotary_emb.inv_freq", "attn.masked_bias"])
def test_constants_of_old_checkpoints_are_no_weights(name, saved):
    edit(saved, with_weights(f"model.layers.0.{name}"))
    causal_lm.load_causal_lm(saved)


def test_tied_weights_may_be_in_the_file_or_not_and_others_stay_apart(tmp_path):
    model = AutoModelForCausalLM.from_config(qwen2(tied=True))
    model.save_pretrained(tmp_path)
    head = model.lm_head.weight.detach().clone()
    for change, tied in (({}, True), ({"lm_head.weight": head}, True),
                         ({"lm_head.weight": head + 1}, False)):  # fmt: skip
        edit(tmp_path, lambda weights, change=change: weights.update(change))
        loaded = causal_lm.load_causal_lm(tmp_path)
        loaded.tie_weights()
        assert torch.equal(loaded.lm_head.weight, loaded.model.embed_tokens.weight) == tied
        assert tied or torch.equal(loaded.lm_head.weight, head + 1)


def adapter(model: PreTrainedModel, folder: Path, *modules: str, **settings) -> Path:
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
        (tiny.llama, ("q_proj", "lm_head"), {"use_dora": True}),
        (tiny.llama, ("q_proj",), {"modules_to_save": ["embed_tokens"]}),
        (tiny.llama, ("q_proj",), {"trainable_token_indices": [3, 36]}),
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


def config_with(**changes):
    return lambda folder: edit_json(folder / "adapter_config.json", **changes)


def weights_with(change):
    return lambda folder: edit(folder, change, ADAPTER)


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (config_with(target_modules=["q_proj"]), r"weights .*v_proj\.lora_A.*, which its ada"),
        (weights_with(lambda w: w.pop(next(iter(w)))), r"no weights for .*lora_A"),
        (weights_with(lambda w: w[next(iter(w))].fill_(torch.nan)), "not finite"),
        (config_with(peft_type="IA3"), "must be LORA"),
        (config_with(alora_invocation_tokens=[1]), "alora_invocation_tokens"),
        (config_with(r=3), "size mismatch"),
    ],
)  # fmt: skip
def test_an_adapter_that_is_not_what_its_config_says_is_refused(damage, problem, tmp_path):
    model = tiny.llama(torch.float32)
    folder = adapter(model, tmp_path, "q_proj", "v_proj")
    damage(folder)
    with pytest.raises(UserError, match=f"^{folder}.*{problem}.*; name another"):
        merged(model, folder, "name another")


def test_an_adapter_of_one_of_two_tied_weights_is_refused(tmp_path):
    model = tiny.gpt2(torch.float32)
    folder = adapter(model, tmp_path, "wte")
    with pytest.raises(UserError, match=r"tied.* other log-probabilities than unmerged"):
        merged(model, folder, "")


@pytest.mark.parametrize(
    ("module", "settings"),
    [("q_proj", {"modules_to_save": ["embed_tokens", "lm_head"]}), ("embed_tokens", {})],
)
def test_an_adapter_with_added_tokens_is_refused_for_them(module, settings, tmp_path):
    model = tiny.llama(torch.float32)
    larger = copy.deepcopy(model)
    larger.resize_token_embeddings(39)
    folder = adapter(larger, tmp_path, module, **settings)
    with pytest.raises(UserError, match=r"weights for 39 tokens, .* for 37: it was trained after"):
        merged(model, folder, "")
