"""Families of language models, each built from its config class with tiny random weights.

They are far from uniform so that mistakes show, with windows shorter than the texts, and scales and
caps where the family has them.
"""

from dataclasses import dataclass
from typing import Any

import torch
import transformers
from transformers import AutoModelForCausalLM, PreTrainedModel

from fdpo.models.causal_lm import attention_implementation, use_branch_attention

VOCABULARY, POSITIONS, WINDOW = 37, 64, 6
_SIZES = {
    **{"vocab_size": VOCABULARY, "hidden_size": 16, "num_hidden_layers": 2},
    **{"num_attention_heads": 4, "max_position_embeddings": POSITIONS, "initializer_range": 0.4},
    **{"bos_token_id": None, "eos_token_id": 0, "pad_token_id": None},
}
_GROUPED = _SIZES | {"intermediate_size": 24, "num_key_value_heads": 2}
_WINDOWED = _GROUPED | {"sliding_window": WINDOW}
_MIXED = _WINDOWED | {"layer_types": ["sliding_attention", "full_attention"]}
_HEADS = {"head_dim": 4}
_EXPERTS = {"num_experts_per_tok": 2, "moe_intermediate_size": 8}
_EVERY_SECOND = _WINDOWED | {"use_sliding_window": True, "max_window_layers": 1}
_OPT_SIZES = {"ffn_dim": 24, "init_std": 0.4, "dropout": 0.3, "layerdrop": 0.3}


@dataclass(frozen=True)
class Family:
    """A config class of Transformers and settings of a tiny model; docs/models.md says of what."""

    config: str
    settings: dict[str, Any]

    def build(self) -> PreTrainedModel:
        """A model of random weights, ready as `load_causal_lm` leaves one."""
        torch.manual_seed(0)
        config = getattr(transformers, self.config)(**self.settings)
        model = AutoModelForCausalLM.from_config(config).eval()
        model.generation_config.eos_token_id = 0
        model.name_or_path = self.config.removesuffix("Config")
        use_branch_attention(model)
        return model


SUPPORTED = {
    "GPT-2": Family("GPT2Config", _SIZES),
    "Llama": Family("LlamaConfig", _GROUPED),
    "Mistral": Family("MistralConfig", _WINDOWED),
    "Mixtral": Family("MixtralConfig", _WINDOWED | {"num_local_experts": 4}),
    "Qwen2": Family("Qwen2Config", _EVERY_SECOND),
    "Qwen3": Family("Qwen3Config", _EVERY_SECOND | _HEADS),
    "Gemma": Family("GemmaConfig", _GROUPED | _HEADS),
    "Gemma 2": Family(
        "Gemma2Config",
        _MIXED
        | _HEADS
        | {"query_pre_attn_scalar": 4}
        | {"attn_logit_softcapping": 2.0, "final_logit_softcapping": 3.0},
    ),
    "Gemma 3": Family(
        "Gemma3TextConfig",
        _MIXED | _HEADS | {"query_pre_attn_scalar": 4, "final_logit_softcapping": 3.0},
    ),
    "Phi-3": Family("Phi3Config", _WINDOWED),
    "OLMo 2": Family("Olmo2Config", _GROUPED),
    "OLMo 3": Family("Olmo3Config", _MIXED),
    "Granite": Family(
        "GraniteConfig",
        _GROUPED
        | {"logits_scaling": 8.0, "embedding_multiplier": 2.0}
        | {"residual_multiplier": 0.5, "attention_multiplier": 0.3},
    ),
    "Cohere": Family("CohereConfig", _GROUPED),
    "Cohere 2": Family("Cohere2Config", _MIXED),
    "OPT": Family(
        "OPTConfig",
        _SIZES | _OPT_SIZES | {"word_embed_proj_dim": 8, "do_layer_norm_before": False},
    ),
    "GPT-NeoX": Family("GPTNeoXConfig", _SIZES | {"intermediate_size": 24, "rotary_pct": 0.5}),
    "SmolLM3": Family(
        "SmolLM3Config", _MIXED | {"use_sliding_window": True, "no_rope_layers": [1, 0]}
    ),
    "Falcon": Family("FalconConfig", _SIZES),
    "Falcon with ALiBi": Family("FalconConfig", _SIZES | {"alibi": True}),
    "StableLM": Family("StableLmConfig", _GROUPED | {"partial_rotary_factor": 0.5}),
    "Starcoder2": Family("Starcoder2Config", _WINDOWED),
    "Phi": Family("PhiConfig", _GROUPED | {"partial_rotary_factor": 0.5}),
    "GPT-J": Family("GPTJConfig", _SIZES | {"rotary_dim": 4}),
    "GPT-Neo": Family(
        "GPTNeoConfig",
        _SIZES
        | {"num_layers": 2, "num_heads": 4, "window_size": WINDOW}
        | {"attention_types": [[["global", "local"], 1]]},
    ),
    "BLOOM": Family("BloomConfig", _SIZES),
    "DeepSeek-V3": Family(
        "DeepseekV3Config",
        _SIZES
        | _EXPERTS
        | {"intermediate_size": 24, "num_key_value_heads": 4, "q_lora_rank": 8, "kv_lora_rank": 8}
        | {"qk_rope_head_dim": 4, "qk_nope_head_dim": 4, "v_head_dim": 4, "n_routed_experts": 4}
        | {"n_group": 2, "topk_group": 1, "first_k_dense_replace": 1},
    ),
}
REFUSED = {
    "GPT-OSS": Family("GptOssConfig", _MIXED | _HEADS | {"num_local_experts": 4}),
    "Mamba": Family("MambaConfig", _SIZES | {"state_size": 4}),
    "RWKV": Family("RwkvConfig", _SIZES | {"attention_hidden_size": 16}),
    "XMOD": Family(
        "XmodConfig", _SIZES | {"intermediate_size": 24, "is_decoder": True, "pad_token_id": 1}
    ),
}


def plain_logp(model: PreTrainedModel, prompt: list[int], completion: list[int]) -> float:
    """log π(completion | prompt) in nats, by the model's own forward pass with eager attention."""
    with torch.inference_mode(), attention_implementation(model, "eager"):
        sequence = torch.tensor([[*prompt, *completion]])
        logits = model(input_ids=sequence, use_cache=False).logits[0, len(prompt) - 1 : -1]
    targets = torch.tensor(completion)[:, None]
    return logits.double().log_softmax(dim=1).gather(1, targets).sum().item()
