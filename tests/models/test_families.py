"""Families of models, tiny and random: right against their own forward pass, or refused."""

import copy

import numpy as np
import pytest
import torch
from transformers.utils.logging import set_verbosity_error

from fdpo.core.errors import UserError
from fdpo.decoding.decoder_probe import probe_model
from fdpo.decoding.sampling import sample
from fdpo.models import attention, logprobs, packing, packing_probe
from fdpo.models.causal_lm import attention_implementation, cached_attention
from fdpo.models.lm_head import LMHead, lm_head
from fdpo.models.logprobs import sequence_logps
from fdpo.models.packing import pack
from tests.models import families
from tests.models.families import REFUSED, SUPPORTED, plain_logp
from tests.support import tiny

pytestmark = pytest.mark.slow

ROUNDING = 1e-4  # nats per sequence, in float32
PROMPTS = [([3, 1, 4], [[1, 5, 9, 2, 6, 5, 3, 5, 8, 9], [7, 9]]), ([2, 3, 8], [[4, 6]])]

set_verbosity_error()


def draw_ids(count: int, seed: int) -> list[int]:
    """Random token ids, end-of-text not among them."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(1, families.VOCABULARY, (count,), generator=generator).tolist()


@pytest.mark.parametrize("name", SUPPORTED)
@pytest.mark.parametrize("longest", [9, families.POSITIONS])
def test_packed_rows_and_the_decoder_are_the_model_s_own(monkeypatch, name, longest):
    model = SUPPORTED[name].build()
    prompts = [draw_ids(count, count) for count in (1, 4, longest // 2)]
    draws = [np.random.default_rng(n).random((3, longest // 2), dtype=np.float32) for n in range(3)]
    with cached_attention(model):
        rows = sample(model, prompts, draws, end_ids=[0, 1, 2])
    decoded = torch.tensor([sampled.logp for row in rows for sampled in row])
    branches = [(p, [s.ids for s in row]) for p, row in zip(prompts, rows, strict=True)]
    with torch.inference_mode():
        packed = sequence_logps(model, pack(branches))
    plain = torch.tensor([plain_logp(model, p, ids) for p, own in branches for ids in own])
    torch.testing.assert_close(packed.float(), plain, rtol=0, atol=ROUNDING)
    torch.testing.assert_close(decoded, plain, rtol=0, atol=ROUNDING)

    monkeypatch.setattr(packing_probe, "ABSOLUTE", ROUNDING)  # the probe lets it through with room
    monkeypatch.setattr(packing_probe, "RELATIVE", 0)
    probe_model(model, longest)


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


@pytest.mark.parametrize("name", ["Llama", "Gemma 2", "Granite", "Cohere", "Phi"])
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
    "GPT-OSS": r"\(GptOssAttention asks its attention for s_aux\)",
    "Mamba": "gives other log-probabilities in packed rows",
    "RWKV": "does not decode with a cache",
    "XMOD": "Input language unknown",
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("longest", [6, 40])
def test_the_rest_is_refused_in_one_line_at_any_length(name, longest):
    with pytest.raises(UserError, match=REASONS[name]) as error:
        probe_model(REFUSED[name].build(), longest)
    assert "\n" not in str(error.value)


def test_long_rope_is_refused_for_texts_that_change_it():
    rope = {"rope_type": "longrope", "short_factor": [1.0] * 2, "long_factor": [2.0, 4.0]}
    settings = {"rope_parameters": rope | {"rope_theta": 1e4}}
    settings["original_max_position_embeddings"] = 16
    phi3 = SUPPORTED["Phi-3"]
    model = families.Family(phi3.config, phi3.settings | settings).build()
    probe_model(model, 16)
    with pytest.raises(UserError, match=r"longest text .*; keep .* within 16 tokens"):
        probe_model(model, 17)


def product_alone(model):
    return LMHead(model.get_output_embeddings().weight)


def without_window(*arguments, sliding_window=None, **keywords):
    return attention.branch_attention(*arguments, **keywords)


@pytest.mark.parametrize("name", ["Granite", "Cohere", "Gemma 2", "GPT-J", "Mistral", "Gemma 3"])
def test_the_probe_sees_scales_caps_biases_and_windows_that_are_not_kept(monkeypatch, name):
    model = SUPPORTED[name].build()
    if name in ("Mistral", "Gemma 3"):
        known = attention.AttentionInterface._global_mapping
        monkeypatch.setitem(known, attention.BRANCHES, without_window)
    else:
        monkeypatch.setattr(packing_probe, "lm_head", product_alone)
    if (bias := model.get_output_embeddings().bias) is not None:
        torch.nn.init.normal_(bias)  # from 0, where nothing would be seen
    with pytest.raises(UserError, match=r"other log-probabilities .* nats per token"):
        probe_model(model, 40)


@pytest.mark.parametrize("name", ["Mistral", "Gemma 2", "Gemma 3"])
def test_windows_and_caps_hold_where_prompts_are_attended_to_once(monkeypatch, name):
    monkeypatch.setattr(packing, "SPLIT_FROM", -(2**30))
    model = SUPPORTED[name].build()
    probe_model(model, 40)
    # Padding behind the short branch of the long prompt lies beyond every key of its window.
    sequence_logps(model, pack([([1] * 20, [[2]]), ([3], [[4] * 20])])).sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize("keyword", ["s_aux", "position_bias", "dropout", "is_causal"])
@pytest.mark.parametrize("function", [attention.branch_attention, attention.cached_attention])
def test_an_attention_keyword_that_is_not_understood_raises(function, keyword):
    states = torch.randn(1, 4, 4, 8)
    indices = pack([([1, 2], [[3, 4], [5, 6]])]).attention
    keywords = indices if function is attention.branch_attention else {}
    keywords |= {keyword: False if keyword == "is_causal" else 0.1}
    with pytest.raises(attention.UnknownAttention, match=f"asks its attention for {keyword}"):
        function(torch.nn.Module(), states, states, states, None, **keywords)
