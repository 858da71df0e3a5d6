"""Fine-tune a policy with f-DPO on the recorded pairs."""

from pathlib import Path

from peft import LoraConfig
from torch import Tensor
from transformers import PrinterCallback, ProgressCallback
from trl import DPOConfig

from fdpo.config.params import Params
from fdpo.config.study import Lora
from fdpo.core import records
from fdpo.core.device import device
from fdpo.core.errors import UserError
from fdpo.core.files import replacing, write_json
from fdpo.core.records import Pair
from fdpo.losses import Objective
from fdpo.models import causal_lm
from fdpo.models.packing_probe import probe_packing
from fdpo.run import processes, resume, tracking
from fdpo.run.settings import load_params
from fdpo.training import checkpoints
from fdpo.training.callbacks import Curves, Progress, Tracked
from fdpo.training.model_card import write_card
from fdpo.training.trainer import FDPOTrainer
from stages import paths


def main() -> None:
    settings = load_params()
    train = list(records.read(paths.TRAIN_PAIRS, Pair))
    test = list(records.read(paths.TEST_PAIRS, Pair))
    tokenizer = causal_lm.load_tokenizer(paths.REFERENCE)
    model = causal_lm.load_causal_lm(paths.REFERENCE)
    causal_lm.check_vocabulary(model, tokenizer, paths.REFERENCE)
    lengths = [
        causal_lm.check_token_ids(model, path, pairs)
        for path, pairs in ((paths.TRAIN_PAIRS, train), (paths.TEST_PAIRS, test))
    ]
    probe_packing(model, max(lengths))
    own = settings.active.train
    if own.lora:
        causal_lm.check_modules(model, own.lora.target_modules)
    knobs = (settings.loss, settings.beta, settings.alpha, settings.lr, settings.seed)
    # The number of processes decides how gradients are summed.
    with resume.folder("train", *knobs, processes.count(), own) as work:
        trainer = FDPOTrainer(
            model=model,
            tokenizer=tokenizer,
            train=train,
            test=test,
            args=arguments(settings, checkpoints.scratch(work)),
            objective=Objective(settings.loss, settings.beta, settings.alpha),
            peft_config=adapter(own.lora) if own.lora else None,
            group_by_prompt=own.group_by_prompt,
            tokens_per_forward=own.tokens_per_forward,
        )
        for callback in (ProgressCallback, PrinterCallback):  # which one depends on verbosity
            trainer.remove_callback(callback)
        trainer.add_callback(Progress())
        if processes.is_main():
            trainer.add_callback(Curves(paths.TRAINING_RESULTS))
        trainer.add_callback(checkpoints.Checkpoints(work))
        with tracking.logbook(settings) as book:
            trainer.add_callback(Tracked(book))
            trainer.train(resume_from_checkpoint=checkpoints.newest(work))
        save(trainer, settings)
    if processes.is_main():
        steps = trainer.state.global_step
        print(f"train: {settings.loss}, beta {settings.beta:g}, {steps} steps", end="")
        print(f" on {len(train)} pairs")


def adapter(lora: Lora) -> LoraConfig:
    return LoraConfig(
        r=lora.r,
        lora_alpha=lora.alpha,
        target_modules=lora.target_modules,
        lora_dropout=0.0,  # the policy starts as the reference: the first margin is 0
        task_type="CAUSAL_LM",
    )


def arguments(settings: Params, scratch: Path) -> DPOConfig:
    """TRL's configuration. What it names loss and β is replaced by `Objective`."""
    own = settings.active.train
    on_gpu = device().type == "cuda"
    pairs, rest = divmod(own.pairs_per_step, processes.count())
    if rest:
        raise UserError(
            f"train.pairs_per_step = {own.pairs_per_step}: must be a multiple of the"
            f" {processes.count()} processes that `launch` starts; change either"
        )
    args = DPOConfig(
        output_dir=str(scratch),
        seed=settings.seed,
        learning_rate=settings.effective_lr,
        lr_scheduler_type="linear",
        warmup_steps=own.warmup_steps,
        max_grad_norm=own.max_grad_norm,
        num_train_epochs=own.epochs,
        per_device_train_batch_size=pairs,
        per_device_eval_batch_size=pairs,
        gradient_checkpointing=own.gradient_checkpointing,
        optim="adamw_torch_fused",
        bf16=on_gpu,
        use_cpu=not on_gpu,
        ddp_find_unused_parameters=False,
        logging_steps=own.log_every,
        logging_nan_inf_filter=False,
        eval_strategy="epoch",
        save_strategy="no",  # Checkpoints decides
        report_to="none",
        precompute_ref_log_probs=False,  # recorded at sampling
    )
    if args.n_gpu > 1:
        args._n_gpu = 1  # a process uses its `device()` alone, however many it sees
    return args


def save(trainer: FDPOTrainer, settings: Params) -> None:
    own = settings.active.train
    objective = settings.trained_with
    if own.lora:  # PEFT holds the names in a set, whose order changes from process to process
        trainer.model.peft_config["default"].target_modules = sorted(own.lora.target_modules)
    weights = gathered(trainer) if trainer.is_fsdp_enabled else None
    if not processes.is_main():
        return
    with replacing(paths.POLICY) as folder:
        trainer.model.save_pretrained(folder, state_dict=weights)
        write_json(folder / "objective.json", objective)
        write_card(folder, objective, base=str(paths.REFERENCE))


def gathered(trainer: FDPOTrainer) -> dict[str, Tensor]:
    """The whole of a sharded model on the main process; every process gives its part."""
    weights = trainer.accelerator.get_state_dict(trainer.model)
    tied = trainer.causal_lm.all_tied_weights_keys  # gathered twice, and no longer seen to be tied
    return {name: weight for name, weight in weights.items() if name not in tied}


if __name__ == "__main__":
    processes.run("train", main)
