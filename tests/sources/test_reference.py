"""References of every kind, against what Transformers and PEFT make of the same files."""

import json
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from fdpo.config.sources import Reference
from fdpo.core.errors import UserError
from fdpo.decoding.decoder_probe import probe_model
from fdpo.models.causal_lm import held_dtype, load_causal_lm
from fdpo.models.logprobs import forward_logps
from fdpo.sources.reference import fetch_reference
from tests.support import hub_repos, tiny

PROMPT, COMPLETIONS = [5, 7, 11], [[13, 17, 19, 23], [29, 31]]


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A model as `save_pretrained` and a tokenizer write it, below the working folder."""
    monkeypatch.chdir(tmp_path)
    hub_repos.gpt2(tmp_path / "inputs/model")
    return tmp_path / "inputs/model"


@pytest.fixture
def adapter(folder) -> Path:
    """A LoRA adapter of that model which changes much."""
    torch.manual_seed(1)
    model = AutoModelForCausalLM.from_pretrained(folder)
    config = LoraConfig(r=2, lora_alpha=8, target_modules=["c_attn"], task_type="CAUSAL_LM")
    adapted = get_peft_model(model, config)
    for name, weight in adapted.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(weight, std=0.3)
    adapted.save_pretrained(folder.parent / "adapter")
    return folder.parent / "adapter"


def prepared(section: dict) -> Path:
    fetch_reference(Reference.model_validate(section), Path("models/reference"))
    return Path("models/reference")


def assert_logps_are_those_of(model: PreTrainedModel, ours: PreTrainedModel, abs: float) -> None:
    with torch.inference_mode():
        plain = [tiny.plain_logp(model.eval(), PROMPT, ids).item() for ids in COMPLETIONS]
    assert forward_logps(ours, PROMPT, COMPLETIONS) == pytest.approx(plain, abs=abs)


def test_a_local_folder_is_copied_and_computes_what_transformers_does(folder):
    (folder / "training_args.bin").write_bytes(b"pickled")
    copied = prepared({"path": "inputs/model"})
    origin = json.loads((copied / "source.json").read_text())
    assert origin["folder"] == "inputs/model"
    assert len(origin["sha256"]) == 64
    assert not (copied / "training_args.bin").exists()
    plain = AutoModelForCausalLM.from_pretrained(folder)
    assert_logps_are_those_of(plain, load_causal_lm(copied), abs=1e-4)
    text = "The film was great"
    mine, theirs = map(AutoTokenizer.from_pretrained, (copied, folder))
    assert mine(text).input_ids == theirs(text).input_ids


@pytest.mark.parametrize("form", ["shards", "pickle", "old pickle"])
def test_weights_in_another_form_become_one_file_with_the_same_tensors(folder, form):
    if form == "shards":
        model = AutoModelForCausalLM.from_pretrained(folder).to(torch.bfloat16)
        (folder / "model.safetensors").unlink()
        model.save_pretrained(folder, max_shard_size="10KB")
        assert len(list(folder.glob("model-*.safetensors"))) > 2
    else:
        model = AutoModelForCausalLM.from_pretrained(folder)
        hub_repos.pickled_only(folder, legacy=form == "old pickle")
    copied = prepared({"path": "inputs/model"})
    weights = [path.name for path in copied.iterdir() if "model" in path.name]
    assert weights == ["model.safetensors"]
    made = "safetensors" if form == "shards" else "pickle, loaded weights-only"
    assert json.loads((copied / "source.json").read_text())["weights"] == made
    joined, loading = AutoModelForCausalLM.from_pretrained(
        copied, use_safetensors=True, dtype="auto", output_loading_info=True
    )
    assert not loading["missing_keys"]
    assert joined.dtype == model.dtype
    torch.testing.assert_close(joined.state_dict(), model.state_dict(), rtol=0, atol=0)


class Intruder:
    """Unpickled without care, this makes the folder `intruded`."""

    def __reduce__(self):
        return Path.mkdir, (Path("intruded"),)


@pytest.mark.parametrize("content", [Intruder(), [1]])
def test_a_pickle_that_holds_more_than_tensors_is_refused(folder, content):
    (folder / "model.safetensors").unlink()
    torch.save({"weight": content}, folder / "pytorch_model.bin")
    with pytest.raises(UserError, match=r"pytorch_model\.bin holds something other than plain ten"):
        prepared({"path": "inputs/model"})
    assert not Path("intruded").exists()
    assert not list(Path("models").iterdir())


@pytest.mark.parametrize("shard", ["../model.safetensors", "/etc/passwd", "model.bin", 3])
def test_an_index_that_lists_other_than_its_own_shards_is_refused(folder, shard):
    (folder / "model.safetensors").unlink()
    index = {"weight_map": {"wte.weight": shard}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(UserError, match="lists no safetensors of its own folder; pin another"):
        prepared({"path": "inputs/model"})
    assert not list(Path("models").iterdir())


def test_an_adapter_is_merged_once_as_peft_merges_it(folder, adapter):
    merged = prepared({"path": "inputs/model", "adapter": {"path": "inputs/adapter"}})
    base = AutoModelForCausalLM.from_pretrained(folder)
    expected = PeftModel.from_pretrained(base, adapter).merge_and_unload()
    ours = load_causal_lm(merged)
    for name, weight in expected.state_dict().items():
        assert torch.equal(ours.state_dict()[name], weight), name
    assert_logps_are_those_of(expected, ours, abs=1e-4)
    plain = AutoModelForCausalLM.from_pretrained(folder)
    with pytest.raises(AssertionError):  # the adapter does change what is computed
        assert_logps_are_those_of(plain, ours, abs=0.1)
    origin = json.loads((merged / "source.json").read_text())
    assert (origin["folder"], origin["adapter_folder"]) == ("inputs/model", "inputs/adapter")


def test_the_adapter_s_own_tokenizer_and_template_take_the_place_of_the_model_s(folder, adapter):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = "{{ messages[0].content }}"
    tokenizer.save_pretrained(adapter)
    merged = prepared({"path": "inputs/model", "adapter": {"path": "inputs/adapter"}})
    assert AutoTokenizer.from_pretrained(merged).chat_template == tokenizer.chat_template
    assert not (merged / "vocab.json").exists() or (adapter / "vocab.json").exists()


def test_what_is_no_adapter_of_the_reference_is_one_line_and_leaves_nothing(folder, adapter):
    reference = {"path": "inputs/model", "adapter": {"path": "inputs/adapter"}}
    config = json.loads((adapter / "adapter_config.json").read_text())
    (adapter / "adapter_config.json").write_text(json.dumps(config | {"target_modules": ["q"]}))
    with pytest.raises(UserError, match=r"inputs/adapter: not an adapter of .* \("):
        prepared(reference)
    (adapter / "adapter_config.json").write_text(json.dumps(config | {"peft_type": "IA3"}))
    with pytest.raises(UserError, match="peft_type = 'IA3': must be LORA; name a LoRA adapter"):
        prepared(reference)
    with pytest.raises(UserError, match="inputs/adapter: an adapter and no whole model; name its"):
        prepared({"path": "inputs/adapter"})
    with pytest.raises(UserError, match="inputs/none: missing or empty; name a file or folder"):
        prepared({"path": "inputs/none"})
    assert not Path("models").exists() or not list(Path("models").iterdir())


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_a_reference_held_in_bfloat16_computes_what_transformers_does_in_it(folder, family):
    if family == "llama":
        model = tiny.llama(torch.float32)
        model.save_pretrained(folder)
    held = prepared({"path": "inputs/model", "dtype": "bfloat16"})
    assert held_dtype(held) == torch.bfloat16
    plain = AutoModelForCausalLM.from_pretrained(held, dtype=torch.bfloat16)
    ours = load_causal_lm(held, dtype=held_dtype(held))
    weights = dict(plain.named_parameters())
    for name, weight in ours.named_parameters():
        assert weight.dtype == torch.bfloat16
        assert torch.equal(weight, weights[name])
    assert_logps_are_those_of(plain, ours, abs=0.15)  # bfloat16's rounding, 3 to 5 tokens
    # In float32 the same weights give the plain forward's numbers, so the rest is rounding alone.
    probe_model(ours, 16)
    assert all(weight.dtype == torch.bfloat16 for weight in ours.parameters())
    assert_logps_are_those_of(plain.float(), ours.float(), abs=1e-4)
    assert held_dtype(folder) == torch.float32
