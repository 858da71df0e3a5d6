"""The peer of benchmarks/train.py: TRL's DPOTrainer on text, as a user would run it.

`python -m benchmarks.trl_peer FOLDER STUDY [--precompute] [--checkpoint] [--liger]
[--pairs-at-a-time N]` trains on the same pairs, with the same adapter, optimiser, learning rates
and pairs per step, and prints a JSON object. TRL's own default checkpoints gradients, which saves
memory for a second forward pass; here that is asked for, so that ours stands beside TRL at its
fastest and beside TRL at its smallest. Where memory can't hold a step's pairs at once, it runs some
at a time and accumulates their gradients.
"""

import argparse
import json
import tempfile
from collections.abc import Iterable
from pathlib import Path

import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, PreTrainedTokenizerBase
from trl import DPOTrainer

from benchmarks.clock import peak_gpu_mib, timing
from benchmarks.train_ours import PAIRS_PER_STEP, one_epoch, settings_of
from fdpo.core import records
from fdpo.core.records import Pair
from fdpo.models.causal_lm import load_tokenizer
from fdpo.training.trl_config import dpo_config, lora_config


class Timed(DPOTrainer):
    """Unchanged, but for a clock about the reference pass that `precompute_ref_log_probs` asks."""

    reference = {"cpu": 0.0, "wall": 0.0}  # noqa: RUF012

    def _precompute_ref_logps(self, *args, **kwargs):
        with timing() as spent:
            result = super()._precompute_ref_logps(*args, **kwargs)
        self.reference = spent()
        return result


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("study")
    parser.add_argument("--precompute", action="store_true")
    parser.add_argument("--checkpoint", action="store_true")
    parser.add_argument("--liger", action="store_true", help="Liger's kernels, where installed")
    parser.add_argument(
        "--pairs-at-a-time", type=int, default=PAIRS_PER_STEP, help="a divisor of a step's pairs"
    )
    options = parser.parse_args()
    settings = settings_of(options.study)
    pairs = list(records.read(options.folder / "pairs.jsonl", Pair))
    tokenizer = load_tokenizer(options.folder / "model")
    model = AutoModelForCausalLM.from_pretrained(options.folder / "model", dtype=torch.float32)
    torch.manual_seed(0)  # the same adapter on either side
    with tempfile.TemporaryDirectory() as scratch:
        train = settings.active.train
        args = one_epoch(dpo_config(train, settings.effective_lr, settings.seed, Path(scratch)))
        args.per_device_train_batch_size = options.pairs_at_a_time
        args.gradient_accumulation_steps = PAIRS_PER_STEP // options.pairs_at_a_time
        args.gradient_checkpointing = options.checkpoint
        args.use_liger_kernel = options.liger
        args.beta = settings.beta
        args.precompute_ref_log_probs = options.precompute
        trainer = Timed(
            model=model,
            args=args,
            train_dataset=as_text(tokenizer, pairs),
            processing_class=tokenizer,
            peft_config=lora_config(train.lora),
        )
        check_tokens(trainer.train_dataset, pairs)
        with timing() as loop:
            trainer.train()
    report = {
        "loop": loop(),
        "reference": trainer.reference,
        "grad_norm": trainer.state.log_history[0]["grad_norm"],
        "steps": trainer.state.global_step,
        "gpu_mib": peak_gpu_mib(),
    }
    print(json.dumps(report))


def check_tokens(dataset: Dataset, pairs: list[Pair]) -> None:
    """End the benchmark when TRL made other tokens of the text than ours are."""
    for row, pair in zip(dataset, pairs, strict=True):
        for column in ("prompt_ids", "chosen_ids", "rejected_ids"):
            if row[column] != getattr(pair, column):
                raise SystemExit(f"pair of prompt {pair.id}: TRL's {column} differ from ours")


if __name__ == "__main__":
    main()
