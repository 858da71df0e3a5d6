"""One side of benchmarks/train.py: `python -m benchmarks.train_sides fdpo|trl FOLDER STUDY …`.

Trains FOLDER/model on FOLDER/pairs.jsonl for one epoch in steps of 12 pairs, with the adapter,
optimiser and learning rate of a study, and prints a JSON object.
"""

import argparse
import dataclasses
import json
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import (
    AutoModelForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    ProgressCallback,
)
from trl import DPOConfig, DPOTrainer

from benchmarks.clock import gflops, peak_gpu_mib, timing
from benchmarks.flops import distinct, sizes, training_flops
from benchmarks.measure import ROOT
from fdpo.config.study import Train
from fdpo.config.yaml_files import read_yaml
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
BETA = 0.1
SEED = 1


def one_epoch(train: Train, scratch: str, **changes: Any) -> DPOConfig:
    """The study's settings, but one epoch, steps of 12 pairs and no evaluation."""
    config = dpo_config(train, train.lr_of("sigmoid"), SEED, Path(scratch))
    same = {
        "num_train_epochs": 1,
        "per_device_train_batch_size": PAIRS_PER_STEP,
        "logging_steps": 1,
        "eval_strategy": "no",
    }
    return dataclasses.replace(config, **{**same, **changes})


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


def fdpo(
    options: argparse.Namespace, train: Train, pairs: list[Pair], scratch: str
) -> dict[str, Any]:
    """The train stage's trainer, after the reference pass."""
    folder = options.folder / "model"
    model = causal_lm.load_causal_lm(folder)
    with timing() as reference:
        pairs = with_reference(model, pairs, options.tokens)
    torch.manual_seed(0)  # the same adapter on either side
    trainer = FDPOTrainer(
        model=model,
        tokenizer=causal_lm.load_tokenizer(folder),
        train=pairs,
        test=pairs[:1],  # never run
        args=one_epoch(train, scratch),
        objective=Objective("sigmoid", BETA, alpha=0.5),
        peft_config=lora_config(train.lora),
        group_by_prompt=True,
        tokens_per_forward=options.tokens,
    )
    trainer.remove_callback(ProgressCallback)
    with timing() as loop:
        trainer.train()
    tokens, positions = distinct(pairs)
    size = sizes(model)
    return {
        "loop": loop(),
        "reference": reference(),
        "grad_norm": trainer.state.log_history[0]["grad_norm"],
        "pairs": len(pairs),
        "flops": training_flops(tokens, positions, size),
        "gflops": gflops(options.tokens, *size.largest),
    }


class TimedDPOTrainer(DPOTrainer):
    """Unchanged, but for a clock around the pass that `precompute_ref_log_probs` makes."""

    reference = {"cpu": 0.0, "wall": 0.0}  # noqa: RUF012

    def _precompute_ref_logps(self, *args, **kwargs):
        with timing() as spent:
            result = super()._precompute_ref_logps(*args, **kwargs)
        self.reference = spent()
        return result


def trl(
    options: argparse.Namespace, train: Train, pairs: list[Pair], scratch: str
) -> dict[str, Any]:
    """TRL's trainer on text, as a user would run it."""
    folder = options.folder / "model"
    tokenizer = causal_lm.load_tokenizer(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    torch.manual_seed(0)  # the same adapter on either side
    trainer = TimedDPOTrainer(
        model=model,
        args=one_epoch(
            train,
            scratch,
            per_device_train_batch_size=options.pairs_at_a_time,
            gradient_accumulation_steps=PAIRS_PER_STEP // options.pairs_at_a_time,
            gradient_checkpointing=options.checkpoint,
            precompute_ref_log_probs=options.precompute,
            beta=BETA,
        ),
        train_dataset=as_text(tokenizer, pairs),
        processing_class=tokenizer,
        peft_config=lora_config(train.lora),
    )
    check_tokens(trainer.train_dataset, pairs)
    with timing() as loop:
        trainer.train()
    return {
        "loop": loop(),
        "reference": trainer.reference,
        "grad_norm": trainer.state.log_history[0]["grad_norm"],
    }


def as_text(tokenizer: PreTrainedTokenizerBase, pairs: Iterable[Pair]) -> Dataset:
    """TRL's columns; it tokenises them and closes completions itself."""

    def row(pair: Pair) -> dict[str, str]:
        prompt = tokenizer.decode(pair.prompt_ids)
        whole = {
            side: tokenizer.decode(pair.prompt_ids + ids)
            for side, ids in (("chosen", pair.chosen_ids), ("rejected", pair.rejected_ids))
        }
        return {"prompt": prompt, **{side: text[len(prompt) :] for side, text in whole.items()}}

    return Dataset.from_list([row(pair) for pair in pairs])


def check_tokens(dataset: Dataset, pairs: list[Pair]) -> None:
    """End the benchmark when TRL made other tokens of the text than the pairs have."""
    for row, pair in zip(dataset, pairs, strict=True):
        for column in ("prompt_ids", "chosen_ids", "rejected_ids"):
            if row[column] != getattr(pair, column):
                raise SystemExit(f"pair of prompt {pair.id}: TRL's {column} differ")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("side", choices=("fdpo", "trl"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("study")
    parser.add_argument("--tokens", type=int, default=512, help="tokens_per_forward of fdpo")
    parser.add_argument("--pairs-at-a-time", type=int, default=PAIRS_PER_STEP)
    parser.add_argument("--precompute", action="store_true")
    parser.add_argument("--checkpoint", action="store_true")
    options = parser.parse_args()
    study = read_yaml(ROOT / f"studies/{options.study}.yaml")
    train = Train.model_validate(study["train"])
    pairs = list(records.read(options.folder / "pairs.jsonl", Pair))
    side = fdpo if options.side == "fdpo" else trl
    with tempfile.TemporaryDirectory() as scratch:
        report = side(options, train, pairs, scratch)
    print(json.dumps({**report, "gpu_mib": peak_gpu_mib()}))


if __name__ == "__main__":
    main()
