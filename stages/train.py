"""Fine-tune a LoRA policy with f-DPO on the recorded pairs."""

from pathlib import Path

from peft import LoraConfig
from transformers import PrinterCallback, ProgressCallback
from trl import DPOConfig

from fdpo import checkpoints, lock, models, params, records, resume, tracking
from fdpo.card import write_card
from fdpo.curves import Curves, Progress, Tracked
from fdpo.device import device
from fdpo.files import replacing, write_json
from fdpo.params import Params
from fdpo.records import Pair
from fdpo.trainer import FDPOTrainer, Objective

REFERENCE = "models/reference"
TRAIN = "data/train.jsonl"
TEST = "data/test.jsonl"
POLICY = Path("models/policy")
CURVES = Path("results/train")


def main() -> None:
    settings = params.load()
    train = list(records.read(TRAIN, Pair))
    test = list(records.read(TEST, Pair))
    tokenizer = models.load_tokenizer(REFERENCE)
    model = models.load_causal_lm(REFERENCE)
    models.check_vocabulary(model, tokenizer, REFERENCE)
    for path, pairs in ((TRAIN, train), (TEST, test)):
        models.check_token_ids(model, path, pairs)
    own = settings.active.train
    models.check_modules(model, own.lora.target_modules)
    knobs = (settings.loss, settings.beta, settings.alpha, settings.lr, settings.seed)
    with resume.folder("train", *knobs, own) as work:
        trainer = FDPOTrainer(
            model=model,
            tokenizer=tokenizer,
            train=train,
            test=test,
            args=arguments(settings, checkpoints.scratch(work)),
            objective=Objective(settings.loss, settings.beta, settings.alpha),
            peft_config=LoraConfig(
                r=own.lora.r,
                lora_alpha=own.lora.alpha,
                target_modules=own.lora.target_modules,
                lora_dropout=0.0,  # the policy starts as the reference: the first margin is 0
                task_type="CAUSAL_LM",
            ),
            group_by_prompt=own.group_by_prompt,
            tokens_per_forward=own.tokens_per_forward,
        )
        for callback in (ProgressCallback, PrinterCallback):  # which one depends on verbosity
            trainer.remove_callback(callback)
        trainer.add_callback(Progress())
        trainer.add_callback(Curves(CURVES))
        trainer.add_callback(checkpoints.Checkpoints(work))
        with tracking.logbook(settings) as book:
            trainer.add_callback(Tracked(book))
            trainer.train(resume_from_checkpoint=checkpoints.newest(work))
        save(trainer, settings)
    steps = trainer.state.global_step
    print(f"train: {settings.loss}, beta {settings.beta:g}, {steps} steps on {len(train)} pairs")


def arguments(settings: Params, scratch: Path) -> DPOConfig:
    """TRL's configuration. What it names loss and β is replaced by `Objective`."""
    own = settings.active.train
    on_gpu = device().type == "cuda"
    return DPOConfig(
        output_dir=str(scratch),
        seed=settings.seed,
        learning_rate=settings.effective_lr,
        lr_scheduler_type="linear",
        warmup_steps=own.warmup_steps,
        max_grad_norm=own.max_grad_norm,
        num_train_epochs=own.epochs,
        per_device_train_batch_size=own.pairs_per_step,
        per_device_eval_batch_size=own.pairs_per_step,
        gradient_checkpointing=own.gradient_checkpointing,
        optim="adamw_torch_fused",
        bf16=on_gpu,
        use_cpu=not on_gpu,
        dataloader_pin_memory=on_gpu,
        logging_steps=own.log_every,
        logging_nan_inf_filter=False,
        eval_strategy="epoch",
        save_strategy="no",  # Checkpoints decides
        report_to="none",
        precompute_ref_log_probs=False,  # recorded at sampling
    )


def save(trainer: FDPOTrainer, settings: Params) -> None:
    own = settings.active.train
    objective = {
        "study": settings.study,
        "loss": settings.loss,
        "beta": settings.beta,
        "alpha": settings.alpha,
        "lr": settings.effective_lr,
        "seed": settings.seed,
        **own.model_dump(exclude={"lr_by_loss"}),
    }
    # PEFT holds the names in a set, whose order changes from process to process.
    trainer.model.peft_config["default"].target_modules = sorted(own.lora.target_modules)
    with replacing(POLICY) as folder:
        trainer.model.save_pretrained(folder)
        write_json(folder / "objective.json", objective)
        write_card(folder, objective)


if __name__ == "__main__":
    lock.run("train", main)
