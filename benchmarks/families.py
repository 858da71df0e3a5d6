"""Which language models are computed right: `python -m benchmarks.families` writes docs/models.md.

Each family is built from its config class with tiny random weights, far from uniform so that
mistakes show, with windows shorter than the texts, scales and caps where the family has them. What
packed rows and the decoder make of it is compared with its own forward pass, one sequence at a time
by its eager attention.
"""

import argparse
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel

from fdpo.core.errors import UserError
from fdpo.decoding.decoder_probe import probe_model
from fdpo.decoding.sampling import Sampled, sample
from fdpo.models.causal_lm import (
    attention_implementation,
    cached_attention,
    use_branch_attention,
)
from fdpo.models.logprobs import sequence_logps
from fdpo.models.packing import pack

VOCABULARY, POSITIONS, WINDOW = 37, 64, 6
PAGE = Path(__file__).parent.parent / "docs/models.md"
_SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": POSITIONS,
    "initializer_range": 0.4,
    "bos_token_id": None,
    "eos_token_id": 0,
    "pad_token_id": None,
}
_GROUPED = _SIZES | {"intermediate_size": 24, "num_key_value_heads": 2}
_WINDOWED = _GROUPED | {"sliding_window": WINDOW}
_MIXED = _WINDOWED | {"layer_types": ["sliding_attention", "full_attention"]}
_GPT2_SIZES = {"n_embd": 16, "n_layer": 2, "n_head": 4, "n_positions": POSITIONS}
_OPT_SIZES = {"ffn_dim": 24, "init_std": 0.4, "dropout": 0.3, "layerdrop": 0.3}


@dataclass(frozen=True)
class Family:
    """A config class of Transformers, settings of a tiny model, and what is special about it."""

    config: str
    settings: dict[str, Any]
    what: str = ""

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
    "GPT-2": Family("GPT2Config", _SIZES | _GPT2_SIZES, "absolute positions"),
    "Llama": Family("LlamaConfig", _GROUPED),
    "Mistral": Family("MistralConfig", _WINDOWED, "window"),
    "Mixtral": Family("MixtralConfig", _WINDOWED | {"num_local_experts": 4}, "window, experts"),
    "Qwen2": Family(
        "Qwen2Config",
        _WINDOWED | {"use_sliding_window": True, "max_window_layers": 1},
        "window in every second layer",
    ),
    "Qwen3": Family(
        "Qwen3Config",
        _WINDOWED | {"use_sliding_window": True, "max_window_layers": 1, "head_dim": 4},
        "window in every second layer",
    ),
    "Gemma": Family("GemmaConfig", _GROUPED | {"head_dim": 4}),
    "Gemma 2": Family(
        "Gemma2Config",
        _MIXED
        | {
            "head_dim": 4,
            "query_pre_attn_scalar": 4,
            "attn_logit_softcapping": 2.0,
            "final_logit_softcapping": 3.0,
        },
        "window per layer, attention and logits soft-capped",
    ),
    "Gemma 3": Family(
        "Gemma3TextConfig",
        _MIXED | {"head_dim": 4, "query_pre_attn_scalar": 4, "final_logit_softcapping": 3.0},
        "window per layer, logits soft-capped",
    ),
    "Phi-3": Family("Phi3Config", _WINDOWED, "window"),
    "OLMo 2": Family("Olmo2Config", _GROUPED),
    "OLMo 3": Family("Olmo3Config", _MIXED, "window per layer"),
    "Granite": Family(
        "GraniteConfig",
        _GROUPED
        | {
            "logits_scaling": 8.0,
            "embedding_multiplier": 2.0,
            "residual_multiplier": 0.5,
            "attention_multiplier": 0.3,
        },
        "logits divided by 8",
    ),
    "Cohere": Family("CohereConfig", _GROUPED, "logits times 1/16"),
    "Cohere 2": Family("Cohere2Config", _MIXED, "logits times 1/16, window per layer"),
    "OPT": Family(
        "OPTConfig",
        _SIZES | _OPT_SIZES | {"word_embed_proj_dim": 8, "do_layer_norm_before": False},
        "dropout and layerdrop of its own, projected embeddings",
    ),
    "GPT-NeoX": Family("GPTNeoXConfig", _SIZES | {"intermediate_size": 24, "rotary_pct": 0.5}),
    "SmolLM3": Family(
        "SmolLM3Config",
        _MIXED | {"use_sliding_window": True, "no_rope_layers": [1, 0]},
        "window per layer, a layer without positions",
    ),
    "Falcon": Family("FalconConfig", _SIZES, "its own attention"),
    "Falcon with ALiBi": Family("FalconConfig", _SIZES | {"alibi": True}, "its own attention"),
    "StableLM": Family(
        "StableLmConfig", _GROUPED | {"partial_rotary_factor": 0.5}, "attention gets no keywords"
    ),
    "Starcoder2": Family("Starcoder2Config", _WINDOWED, "window, dropout of its own"),
    "Phi": Family("PhiConfig", _GROUPED | {"partial_rotary_factor": 0.5}, "head with a bias"),
    "GPT-J": Family(
        "GPTJConfig",
        _SIZES | _GPT2_SIZES | {"rotary_dim": 4},
        "its own attention, head with a bias",
    ),
    "GPT-Neo": Family(
        "GPTNeoConfig",
        _SIZES
        | {
            "num_layers": 2,
            "num_heads": 4,
            "attention_types": [[["global", "local"], 1]],
            "window_size": WINDOW,
        },
        "its own attention, window per layer",
    ),
    "BLOOM": Family(
        "BloomConfig", _SIZES | {"n_layer": 2, "n_head": 4}, "its own attention, ALiBi"
    ),
    "DeepSeek-V3": Family(
        "DeepseekV3Config",
        _SIZES
        | {
            "intermediate_size": 24,
            "num_key_value_heads": 4,
            "q_lora_rank": 8,
            "kv_lora_rank": 8,
            "qk_rope_head_dim": 4,
            "qk_nope_head_dim": 4,
            "v_head_dim": 4,
            "n_routed_experts": 4,
            "num_experts_per_tok": 2,
            "n_group": 2,
            "topk_group": 1,
            "moe_intermediate_size": 8,
            "first_k_dense_replace": 1,
        },
        "latent attention, experts",
    ),
}
REFUSED = {
    "GPT-OSS": Family(
        "GptOssConfig", _MIXED | {"head_dim": 4, "num_local_experts": 4}, "attention sinks"
    ),
    "Mamba": Family("MambaConfig", _SIZES | {"state_size": 4}, "state space"),
    "RWKV": Family("RwkvConfig", _SIZES | {"attention_hidden_size": 16}, "linear attention"),
    "LFM2": Family(
        "Lfm2Config", _GROUPED | {"layer_types": ["conv", "full_attention"]}, "convolutions"
    ),
    "Qwen3-Next": Family(
        "Qwen3NextConfig",
        _GROUPED
        | {
            "layer_types": ["linear_attention", "full_attention"],
            "head_dim": 4,
            "linear_num_key_heads": 2,
            "linear_num_value_heads": 2,
            "linear_key_head_dim": 4,
            "linear_value_head_dim": 4,
            "num_experts": 4,
            "num_experts_per_tok": 2,
            "moe_intermediate_size": 8,
            "shared_expert_intermediate_size": 8,
        },
        "linear attention",
    ),
}


def draw_ids(count: int, seed: int) -> list[int]:
    """Random token ids, end-of-text not among them."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(1, VOCABULARY, (count,), generator=generator).tolist()


def plain_logp(model: PreTrainedModel, prompt: list[int], completion: list[int]) -> float:
    """log π(completion | prompt) in nats, by the model's own forward pass with eager attention."""
    with torch.inference_mode(), attention_implementation(model, "eager"):
        sequence = torch.tensor([[*prompt, *completion]])
        logits = model(input_ids=sequence, use_cache=False).logits[0, len(prompt) - 1 : -1]
    targets = torch.tensor(completion)[:, None]
    return logits.double().log_softmax(dim=1).gather(1, targets).sum().item()


def packed_difference(model: PreTrainedModel) -> float:
    """The largest error of a packed row in nats per sequence, of 2 tokens to all positions."""
    lengths = [(1, [1, 2]), (3, [5, POSITIONS - 3, 20]), (POSITIONS - 2, [2, 1]), (20, [30, 7])]
    prompts = [
        (draw_ids(prompt, seed), [draw_ids(count, 100 * seed + count) for count in completions])
        for seed, (prompt, completions) in enumerate(lengths)
    ]
    with torch.inference_mode():
        packed = sequence_logps(model, pack(prompts))
    plain = [plain_logp(model, prompt, ids) for prompt, branches in prompts for ids in branches]
    return (packed - torch.tensor(plain, dtype=torch.float64)).abs().max().item()


def decode(model: PreTrainedModel) -> list[tuple[list[int], list[Sampled]]]:
    """Prompts of unequal length with sampled completions, up to all of the model's positions."""
    prompts = [draw_ids(count, count) for count in (1, 4, 30)]
    steps = POSITIONS - 30
    draws = [
        np.random.default_rng(number).random((3, steps), dtype=np.float32)
        for number in range(len(prompts))
    ]
    with cached_attention(model):
        return list(zip(prompts, sample(model, prompts, draws, end_ids=[0, 1, 2]), strict=True))


def decoder_difference(
    model: PreTrainedModel, decoded: list[tuple[list[int], list[Sampled]]]
) -> float:
    """The largest error of the log-probabilities recorded at sampling, in nats per sequence."""
    return max(
        abs(sampled.logp - plain_logp(model, prompt, sampled.ids))
        for prompt, row in decoded
        for sampled in row
    )


def first_margin(model: PreTrainedModel, decoded: list[tuple[list[int], list[Sampled]]]) -> float:
    """The largest margin of two completions, packed against recorded: 0 but for rounding."""
    margins = []
    for prompt, row in decoded:
        with torch.inference_mode():
            packed: Tensor = sequence_logps(model, pack([(prompt, [s.ids for s in row])]))
        ratios = packed - torch.tensor([sampled.logp for sampled in row], dtype=torch.float64)
        margins.append((ratios.max() - ratios.min()).item())
    return max(margins)


def verdict(model: PreTrainedModel) -> str | None:
    """Why the probe refuses a model; None if it does not."""
    try:
        probe_model(model, POSITIONS)
    except UserError as error:
        return str(error)
    return None


def page() -> str:
    """docs/models.md as it is to be."""
    lines = [INTRODUCTION, "| family | tested with | packed | decoder | first margin | runs as |"]
    lines.append("|---|---|---|---|---|---|")
    for name, family in SUPPORTED.items():
        model = family.build()
        if problem := verdict(model):
            raise SystemExit(f"{name}: {problem}")
        decoded = decode(model)
        numbers = (
            packed_difference(model),
            decoder_difference(model, decoded),
            first_margin(model, decoded),
        )
        cells = " | ".join(f"{number:.0e}" for number in numbers)
        before = model.config._attn_implementation
        way = "packed rows" if before == "branches" else "one row per completion"
        lines.append(f"| {name} | {family.what} | {cells} | {way} |")
    lines += [REFUSALS, "| family | has | what the probe says |", "|---|---|---|"]
    for name, family in REFUSED.items():
        problem = verdict(family.build())
        if problem is None:
            raise SystemExit(f"{name}: not refused")
        problem = problem.split(": ", 1)[1].split(";")[0]
        lines.append(f"| {name} | {family.what} | {problem} |")
    return "\n".join(lines) + "\n"


INTRODUCTION = f"""# Which language models work

<!-- Written by `python -m benchmarks.families`. -->

Any causal language model that Transformers reads may be a study's reference; whether what is
computed from it is right is checked when it is loaded. A probe compares a packed row of two
branches and a few steps of the cached decoder with the model's own forward pass, one sequence at a
time, up to the longest sequence of the run. Where they differ by more than rounding, the stage ends
in one line before any work. Training also checks that the first margin is 0.

The families below are tested so, each built from its config class with tiny random weights: packed
rows, the decoder on prompts of unequal length, and gradients. Numbers are the largest differences
in nats per sequence, over sequences of 2 to {POSITIONS} tokens, whose log-probabilities are about
−4 per token. Windows of {WINDOW} tokens bind nearly everywhere. Other families run if the probe
lets them.

"Packed rows" run a prompt once for all of its completions. A model whose attention is not
Transformers' attention interface runs one row per completion, prompt and all: as right, and slower.
"""
REFUSALS = """
## Refused

A state that runs from token to token would run on from one branch into the next, or has no
key-value cache. Attention sinks are not computed.
"""


def main() -> None:
    logging.getLogger("transformers").setLevel(logging.ERROR)
    PAGE.write_text(page(), encoding="utf-8")
    print(f"wrote {PAGE}")


if __name__ == "__main__":
    argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0]).parse_args()
    main()
