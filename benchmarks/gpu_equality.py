"""Are a GPU's float32 results the CPU's? `python -m benchmarks.gpu_equality FOLDER` prints JSON.

Both compute, without autocast, the log-probabilities of FOLDER's pairs and the gradient of their
loss with respect to a LoRA adapter; `benchmarks.gpu` has the bounds.
"""

import json
import sys
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor
from transformers import PreTrainedModel

from fdpo.core import records
from fdpo.core.device import device
from fdpo.core.records import Pair
from fdpo.decoding.decoder_probe import probe_model
from fdpo.losses import Objective, f_dpo_loss
from fdpo.models.causal_lm import is_linear, load_causal_lm
from fdpo.models.logprobs import pair_logps
from fdpo.models.micro_batches import micro_batches, to_trl_columns

OBJECTIVE = Objective("sigmoid", beta=0.1, alpha=0.5)


def results(model: PreTrainedModel, pairs: list[Pair]) -> tuple[Tensor, Tensor]:
    """(log-probabilities of both sides of the pairs, gradient of their mean loss), on the CPU."""
    logps, total = [], 0.0
    for batch in micro_batches(to_trl_columns(pairs), tokens=2048):
        moved = batch.to(model.device)
        sides = pair_logps(model, moved)
        references = (moved.ref_chosen_logps, moved.ref_rejected_logps)
        loss, *_ = f_dpo_loss(OBJECTIVE, *sides, *references)
        (loss.mean() * moved.weight).backward()
        logps += [side.detach().cpu() for side in sides]
        total += float(moved.weight)
    gradient = torch.cat(
        [p.grad.flatten().double().cpu() for p in model.parameters() if p.grad is not None]
    )
    return torch.cat(logps), gradient / total


def with_lora(model: PreTrainedModel) -> PreTrainedModel:
    """The model with an adapter on all of its linear layers, the same at every call."""
    torch.manual_seed(0)
    names = {
        name.rpartition(".")[2] for name, m in model.base_model.named_modules() if is_linear(m)
    }
    config = LoraConfig(r=8, target_modules=sorted(names), init_lora_weights=False)
    get_peft_model(model.cpu(), config)  # it puts the layers into the model
    return model


def compared(
    here: tuple[Tensor, Tensor], there: tuple[Tensor, Tensor], tokens: float
) -> dict[str, float]:
    """How far results are apart: nats per token at most, and gradients relative to their norm."""
    (logps, gradient), (other_logps, other_gradient) = here, there
    distance = (gradient - other_gradient).norm() / gradient.norm()
    return {
        "nats_per_token": float((logps - other_logps).abs().max()) / tokens,
        "gradient": float(distance),
    }


def main() -> None:
    folder = Path(sys.argv[1])
    pairs = list(records.read(folder / "pairs.jsonl", Pair))
    tokens = min(min(len(p.chosen_ids), len(p.rejected_ids)) for p in pairs)
    found = []
    for where in (torch.device("cpu"), device()):
        model = with_lora(load_causal_lm(folder / "model")).to(where)
        found.append(results(model, pairs))
    longest = max(len(p.prompt_ids) + max(len(p.chosen_ids), len(p.rejected_ids)) for p in pairs)
    probe_model(load_causal_lm(folder / "model"), longest)  # packed rows and decoding, on the GPU
    print(json.dumps(compared(*found, tokens)))


if __name__ == "__main__":
    main()
