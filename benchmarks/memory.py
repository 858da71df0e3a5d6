"""Memory that training takes by the model's size, computed: `python -m benchmarks.memory`.

Prints the table of docs/gpus.md. A model is built on PyTorch's device `meta`, whose tensors have
shapes and no contents, and runs what a training step runs, forward; what autograd keeps for the
backward pass is counted, each storage once. Nothing of it depends on weights, so a model of any
size takes seconds.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor
from transformers import AutoModelForCausalLM, GPT2Config, LlamaConfig, PretrainedConfig

from fdpo.models.causal_lm import turn_off_randomness, use_branch_attention
from fdpo.models.logprobs import TILE_ELEMENTS, sequence_logps
from fdpo.models.packing import Branches, pack

MIB = 2**20
RANK = 8
ADAPTED = {"llama": ["q_proj", "v_proj"], "gpt2": ["c_attn", "c_proj"]}  # as in params.yaml
STATES = 4  # float32 numbers per LoRA weight: itself, its gradient and Adam's two moments
TILES = 3  # blocks of logits that one tile of the LM head has at once


@dataclass(frozen=True)
class Memory:
    """Bytes of a training step, by what they hold."""

    weights: int
    adapter: int  # with gradients and Adam's moments
    activations: int  # kept for the backward pass
    tiles: int  # of logits

    @property
    def total(self) -> int:
        """Their sum, which Python and its libraries come on top of: about 700 MiB on a CPU."""
        return self.weights + self.adapter + self.activations + self.tiles


def training(config: PretrainedConfig, branches: Branches, dtype: torch.dtype) -> Memory:
    """What a step on `branches` takes, with weights of `dtype` and everything else in float32."""
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        use_branch_attention(model)
        frozen = sum({id(p): p.numel() for p in model.parameters()}.values())
        lora = LoraConfig(r=RANK, target_modules=ADAPTED[config.model_type])
        get_peft_model(model, lora)  # it puts the layers into the model and freezes the rest
    turn_off_randomness(model)
    adapter = sum(p.numel() for p in model.parameters() if p.requires_grad)
    return Memory(
        weights=frozen * dtype.itemsize,
        adapter=4 * STATES * adapter,
        activations=kept_for_backward(model, branches.to(torch.device("meta"))),
        tiles=4 * TILES * min(TILE_ELEMENTS, len(branches.targets) * config.vocab_size),
    )


def kept_for_backward(model: torch.nn.Module, branches: Branches) -> int:
    """Bytes that autograd keeps of a forward pass, parameters and indices left out."""
    own = {p.untyped_storage()._cdata for p in (*model.parameters(), *model.buffers())}
    kept: dict[int, Tensor] = {}  # holds the tensors, so that no storage's number is given twice

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()._cdata
        if storage not in own and tensor.is_floating_point():
            kept[storage] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        logps = sequence_logps(model, branches)
        size = sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
    del logps
    return size


def step(prompts: int, prompt: int, completions: int, tokens: int) -> Branches:
    """A step's distinct sequences, of equal lengths."""
    return pack([([0] * prompt, [[0] * tokens] * completions) for _ in range(prompts)])


def llama(hidden: int, inner: int, layers: int, heads: int, kv: int, vocabulary: int, tied: bool):
    """A Llama of a published model's shape."""
    return LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=hidden,
        intermediate_size=inner,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv,
        max_position_embeddings=8192,
        tie_word_embeddings=tied,
    )


MODELS = {
    "GPT-2, 124 M": GPT2Config(),
    "SmolLM2, 135 M": llama(576, 1536, 30, 9, 3, 49152, tied=True),
    "SmolLM2, 360 M": llama(960, 2560, 32, 15, 5, 49152, tied=True),
    "Llama 3.2, 1.2 B": llama(2048, 8192, 16, 32, 8, 128256, tied=True),
    "Llama 3.1, 8 B": llama(4096, 14336, 32, 32, 8, 128256, tied=False),
}


def table(branches: Sequence[Branches]) -> list[str]:
    """Lines of Markdown: a row per model, its memory in GiB with float32 and bfloat16 weights."""
    tokens = [f"{one.input_ids.shape[1]:,} tokens" for one in branches]
    head = ["model", "weights, float32", "bfloat16", "adapter", *tokens, "tiles of logits"]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for name, config in MODELS.items():
        found = [training(config, one, torch.float32) for one in branches]
        weights = found[0].weights
        cells = [weights, weights / 2, found[0].adapter]
        cells += [memory.activations for memory in found] + [found[-1].tiles]
        lines.append(f"| {name} | {' | '.join(f'{cell / MIB:,.0f}' for cell in cells)} |")
    return lines


def main() -> None:
    print("\n".join(table([step(4, 20, 6, 18), step(8, 24, 6, 40)])))


if __name__ == "__main__":
    main()
