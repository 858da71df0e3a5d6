"""Fine-tune a policy with f-DPO on the recorded pairs."""

from transformers import PrinterCallback, ProgressCallback

from fdpo.config.params import load_params
from fdpo.core import records
from fdpo.core.errors import UserError
from fdpo.core.records import Pair
from fdpo.models import causal_lm
from fdpo.models.packing_probe import probe_packing
from fdpo.run import processes, resume, tracking
from fdpo.training import checkpoints
from fdpo.training.callbacks import CurveFiles, CurveLogbook, StopAfter, TrainingProgress
from fdpo.training.saved_policy import save_policy
from fdpo.training.trainer import FDPOTrainer
from fdpo.training.trl_config import dpo_config, lora_config
from stages import paths


def main() -> None:
    """Read, train and write."""
    settings = load_params()
    train = settings.active.train
    train_pairs = list(records.read(paths.TRAIN_PAIRS, Pair))
    try:
        train.check_warmup(len(train_pairs))  # before it, their number had no bound
    except ValueError as problem:
        raise UserError(str(problem)) from None
    test_pairs = list(records.read(paths.TEST_PAIRS, Pair))
    tokenizer = causal_lm.load_tokenizer(paths.REFERENCE_MODEL)
    dtype = causal_lm.held_dtype(paths.REFERENCE_MODEL)
    model = causal_lm.load_causal_lm(paths.REFERENCE_MODEL, dtype=dtype)
    causal_lm.check_vocabulary(model, tokenizer, paths.REFERENCE_MODEL)
    longest = max(
        causal_lm.check_token_ids(model, paths.TRAIN_PAIRS, train_pairs),
        causal_lm.check_token_ids(model, paths.TEST_PAIRS, test_pairs),
    )
    probe_packing(model, longest)
    if train.lora:
        causal_lm.check_modules(model, train.lora.target_modules)
    knobs = (settings.loss, settings.beta, settings.alpha, settings.lr, settings.seed)
    # The number of processes decides how gradients are summed.
    with resume.folder("train", *knobs, processes.count(), train) as work:
        trainer = FDPOTrainer(
            model=model,
            tokenizer=tokenizer,
            train=train_pairs,
            test=test_pairs,
            args=dpo_config(train, settings.effective_lr, settings.seed, checkpoints.scratch(work)),
            objective=settings.objective,
            peft_config=lora_config(train.lora) if train.lora else None,
            group_by_prompt=train.group_by_prompt,
            tokens_per_forward=train.tokens_per_forward,
        )
        for callback in (ProgressCallback, PrinterCallback):  # which one depends on verbosity
            trainer.remove_callback(callback)
        trainer.add_callback(TrainingProgress())
        if train.stop_after:
            trainer.add_callback(StopAfter(train.stop_after))
        if processes.is_main():
            trainer.add_callback(CurveFiles(paths.TRAINING_RESULTS))
        trainer.add_callback(checkpoints.Checkpoints(work))
        with tracking.logbook(settings) as book:
            trainer.add_callback(CurveLogbook(book))
            trainer.train(resume_from_checkpoint=checkpoints.newest(work))
            if train.eval_every:
                trainer.evaluate()
            save_policy(trainer, paths.POLICY, settings.trained_with, paths.REFERENCE_MODEL)
            book.policy(paths.POLICY, settings)
    if processes.is_main():
        print(
            f"train: {settings.loss}, beta {settings.beta:g}, {trainer.state.global_step} steps"
            f" on {len(train_pairs)} pairs"
        )


if __name__ == "__main__":
    processes.run("train", main)
