"""Families of models, tiny and random: right against their own forward pass, or refused."""

import copy

import pytest
import torch
from transformers.utils.logging import set_verbosity_error

from benchmarks import families
from benchmarks.families import REFUSED, SUPPORTED
from fdpo.core.errors import UserError
from fdpo.decoding.decoder_probe import probe_model
from fdpo.models import attention, logprobs, packing_probe
from fdpo.models.causal_lm import attention_implementation
from fdpo.models.lm_head import LMHead, lm_head
from fdpo.models.logprobs import sequence_logps
from fdpo.models.packing import pack
from tests.support import tiny

pytestmark = pytest.mark.slow

ROUNDING = 1e-4  # nats per sequence, in float32
PROMPTS = [([3, 1, 4], [[1, 5, 9, 2, 6, 5, 3, 5, 8, 9], [7, 9]]), ([2, 3, 8], [[4, 6]])]

set_verbosity_error()


@pytest.mark.parametrize("name", SUPPORTED)
def test_packed_rows_decoder_and_first_margin_are_the_model_s_own(name):
    model = SUPPORTED[name].build()
    decoded = families.decode(model)
    assert families.packed_difference(model) < ROUNDING
    assert families.decoder_difference(model, decoded) < ROUNDING
    assert families.first_margin(model, decoded) < ROUNDING
    assert len({len(sampled.ids) for _, row in decoded for sampled in row}) > 1


@pytest.mark.parametrize("name", SUPPORTED)
@pytest.mark.parametrize("longest", [2, 3, 5, 9, families.POSITIONS, 10**6])
def test_the_probe_lets_it_through_with_much_room(monkeypatch, name, longest):
    monkeypatch.setattr(packing_probe, "ABSOLUTE", ROUNDING)
    monkeypatch.setattr(packing_probe, "RELATIVE", 0)
    assert probe_model(SUPPORTED[name].build(), longest) is None


@pytest.mark.parametrize("name", SUPPORTED)
def test_gradients_are_those_of_plain_forward_passes(name):
    model = SUPPORTED[name].build()
    plain = copy.deepcopy(model)
    sequence_logps(model, pack(PROMPTS)).sum().backward()
    with attention_implementation(plain, "eager"):
        for prompt, completions in PROMPTS:
            for completion in completions:
                tiny.plain_logp(plain, prompt, completion).backward()
    ours, theirs = (
        torch.cat([p.grad.flatten() for p in m.parameters() if p.grad is not None])
        for m in (model, plain)
    )
    assert theirs.norm() > 1e-2
    assert (ours - theirs).norm() < 1e-4 * theirs.norm()


@pytest.mark.parametrize("name", SUPPORTED)
def test_hidden_states_with_a_frozen_head_have_the_same_gradients(name):
    """Under LoRA the head is frozen, and its gradients are made by hand, caps and scales too."""
    model = SUPPORTED[name].build()
    head = lm_head(model)
    frozen = LMHead(head.weight.detach(), head.bias, head.scale, head.softcap)
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(7, head.weight.shape[1], generator=generator).requires_grad_()
    targets = torch.arange(7)
    upstream = torch.linspace(-2, 3, 7)
    values = logprobs.token_logps(hidden, frozen, targets)
    expected = frozen.logits(hidden).log_softmax(dim=1)[targets, targets]
    (ours,) = torch.autograd.grad(values, hidden, upstream)
    (theirs,) = torch.autograd.grad(expected, hidden, upstream)
    torch.testing.assert_close(values, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


REASONS = {
    "GPT-OSS": r"packed rows \(GptOssAttention asks its attention for s_aux\)",
    "Mamba": "gives other log-probabilities in packed rows",
    "RWKV": "does not decode with a cache",
    "LFM2": "gives other log-probabilities in packed rows",
    "Qwen3-Next": "gives other log-probabilities in packed rows",
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("longest", [6, 40])
def test_the_rest_is_refused_in_one_line(name, longest):
    with pytest.raises(UserError, match=REASONS[name]) as error:
        probe_model(REFUSED[name].build(), longest)
    assert str(error.value).endswith("; choose a model of a family that docs/models.md lists")
    assert "\n" not in str(error.value)


def refused(model, longest=40):
    with pytest.raises(UserError, match=r"other log-probabilities .* nats per token"):
        probe_model(model, longest)


@pytest.mark.parametrize("name", ["Granite", "Cohere", "Cohere 2", "Gemma 2", "Gemma 3", "GPT-J"])
def test_the_probe_sees_logits_that_are_more_than_a_product(monkeypatch, name):
    def product_alone(model):
        return LMHead(model.get_output_embeddings().weight)

    monkeypatch.setattr(packing_probe, "lm_head", product_alone)
    model = SUPPORTED[name].build()
    with torch.no_grad():  # initialised to 0, where nothing would be seen
        for parameter in (p for p in [model.get_output_embeddings().bias] if p is not None):
            parameter.normal_()
    refused(model)


@pytest.mark.parametrize(
    "name", ["Mistral", "Mixtral", "Qwen2", "Qwen3", "Gemma 3", "Phi-3", "SmolLM3", "OLMo 3"]
)
def test_the_probe_sees_a_window_that_is_not_kept(monkeypatch, name):
    def without_window(*arguments, sliding_window=None, **keywords):
        return attention.branch_attention(*arguments, **keywords)

    monkeypatch.setitem(
        attention.AttentionInterface._global_mapping, attention.BRANCHES, without_window
    )
    refused(SUPPORTED[name].build())


def test_a_window_of_all_tokens_is_none():
    """The kernel without a mask serves, so a window that does not bind costs nothing."""
    states = torch.randn(1, 4, 5, 8)
    branches = pack([([1, 2], [[3, 4], [5, 6]])])
    module = torch.nn.Module()
    results = [
        attention.branch_attention(
            module, states[:, :, :4], states[:, :, :4], states[:, :, :4], None,
            sliding_window=window, **branches.attention,
        )[0]
        for window in (None, 3, 2)
    ]  # fmt: skip
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


@pytest.mark.parametrize(
    ("keyword", "value"),
    [("s_aux", torch.zeros(4)), ("position_bias", 1), ("dropout", 0.1), ("is_causal", False)],
)
@pytest.mark.parametrize("function", [attention.branch_attention, attention.cached_attention])
def test_an_attention_keyword_that_is_not_understood_raises(function, keyword, value):
    states = torch.randn(1, 4, 4, 8)
    indices = pack([([1, 2], [[3, 4], [5, 6]])]).attention
    keywords = indices if function is attention.branch_attention else {}
    with pytest.raises(attention.UnknownAttention, match=f"asks its attention for {keyword}"):
        function(torch.nn.Module(), states, states, states, None, **keywords, **{keyword: value})


def test_the_page_lists_every_family():
    rows = [line.split(" | ") for line in families.PAGE.read_text().splitlines() if "| " in line]
    listed = {row[0].removeprefix("| "): row for row in rows}
    for name in SUPPORTED:
        assert all(float(cell) < ROUNDING for cell in listed[name][2:5])
    for name in REFUSED:
        assert "ForCausalLM" in listed[name][2]
