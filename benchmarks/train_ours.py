"""Ours in benchmarks/train.py: the train stage's trainer, and the reference pass before it.

`python -m benchmarks.train_ours FOLDER STUDY [TOKENS]` trains FOLDER/model on FOLDER/pairs.jsonl
with the study's settings, TOKENS in place of its `tokens_per_forward`, in one epoch, and prints a
JSON object.
"""

import dataclasses
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import PreTrainedModel, ProgressCallback
from trl import DPOConfig

from benchmarks.clock import peak_gpu_mib, timing
from benchmarks.flops import distinct, sizes, training_flops
from fdpo.config.params import Params, load_params
from fdpo.core import records
from fdpo.core.device import autocast, device
from fdpo.core.records import Pair
from fdpo.losses import Objective
from fdpo.models import causal_lm
from fdpo.models.logprobs import pair_logps
from fdpo.models.micro_batches import micro_batches, to_trl_columns
from fdpo.training.trainer import FDPOTrainer
from fdpo.training.trl_config import dpo_config, lora_config

PAIRS_PER_STEP = 12


def settings_of(study: str) -> Params:
    """params.yaml with this study and DPO's loss, whatever the workspace has set."""
    return load_params().model_copy(
        update={"study": study, "loss": "sigmoid", "beta": 0.1, "lr": "auto", "seed": 1}
    )


def one_epoch(args: DPOConfig) -> DPOConfig:
    """Without evaluation, and with the same number of pairs a step on either side."""
    return dataclasses.replace(
        args,
        num_train_epochs=1,
        per_device_train_batch_size=PAIRS_PER_STEP,
        logging_steps=1,
        eval_strategy="no",
    )


@torch.inference_mode()
def with_reference(model: PreTrainedModel, pairs: Sequence[Pair], tokens: int) -> list[Pair]:
    """Record the model's own log-probabilities in the pairs, each distinct sequence run once."""
    found: dict[int, dict[str, float]] = {}
    for batch in micro_batches(to_trl_columns(pairs), tokens):
        with autocast():
            chosen, rejected = pair_logps(model, batch.to(device()))
        for index, *values in zip(batch.indices.tolist(), chosen, rejected, strict=True):
            names = ("ref_chosen_logp", "ref_rejected_logp")
            found[index] = dict(zip(names, map(float, values), strict=True))
    return [pair.model_copy(update=found[index]) for index, pair in enumerate(pairs)]


def main() -> None:
    folder, settings = Path(sys.argv[1]), settings_of(sys.argv[2])
    own = settings.active.train
    if len(sys.argv) > 3:
        own = own.model_copy(update={"tokens_per_forward": int(sys.argv[3])})
    pairs = list(records.read(folder / "pairs.jsonl", Pair))
    tokenizer = causal_lm.load_tokenizer(folder / "model")
    model = causal_lm.load_causal_lm(folder / "model")
    with timing() as reference:
        pairs = with_reference(model, pairs, own.tokens_per_forward)
    torch.manual_seed(0)  # the same adapter on either side
    with tempfile.TemporaryDirectory() as scratch:
        trainer = FDPOTrainer(
            model=model,
            tokenizer=tokenizer,
            train=pairs,
            test=pairs[:1],  # never run
            args=one_epoch(dpo_config(own, settings.effective_lr, settings.seed, Path(scratch))),
            objective=Objective(settings.loss, settings.beta, settings.alpha),
            peft_config=lora_config(own.lora),
            group_by_prompt=True,
            tokens_per_forward=own.tokens_per_forward,
        )
        trainer.remove_callback(ProgressCallback)
        with timing() as loop:
            trainer.train()
    tokens, positions = distinct(pairs)
    size = sizes(model)
    report = {
        "loop": loop(),
        "reference": reference(),
        "grad_norm": trainer.state.log_history[0]["grad_norm"],
        "steps": trainer.state.global_step,
        "pairs": len(pairs),
        "tokens": tokens,
        "flops": training_flops(tokens, positions, size),
        "gemm": [own.tokens_per_forward, *size.largest],
        "gpu_mib": peak_gpu_mib(),
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
