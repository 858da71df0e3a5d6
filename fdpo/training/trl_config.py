"""A study's training settings as TRL and PEFT take them."""

from pathlib import Path

from peft import LoraConfig
from trl import DPOConfig

from fdpo.config.study import Lora, Train
from fdpo.core.device import device
from fdpo.core.errors import UserError
from fdpo.run import processes


def dpo_config(train: Train, learning_rate: float, seed: int, folder: Path) -> DPOConfig:
    """TRL's configuration. What it calls loss and β is replaced by the trainer's `Objective`.

    Args:
        train: the study's section of that name.
        learning_rate: the one that the run uses, for its loss.
        seed: the run's seed.
        folder: where the Trainer writes its checkpoints.

    Raises:
        UserError: a step's pairs cannot be divided among the processes.
    """
    on_gpu = device().type == "cuda"
    bfloat16 = on_gpu if train.dtype is None else train.dtype == "bfloat16"
    pairs, rest = divmod(train.pairs_per_step, processes.count())
    if rest:
        raise UserError(
            f"train.pairs_per_step = {train.pairs_per_step}: must be a multiple of the"
            f" {processes.count()} processes that `launch` starts; change either"
        )
    config = DPOConfig(
        output_dir=str(folder),
        seed=seed,
        learning_rate=learning_rate,
        lr_scheduler_type="linear",
        warmup_steps=train.warmup_steps,
        max_grad_norm=train.max_grad_norm,
        num_train_epochs=train.epochs,
        per_device_train_batch_size=pairs,
        per_device_eval_batch_size=pairs,
        gradient_checkpointing=train.gradient_checkpointing,
        optim="adamw_torch_fused",
        bf16=bfloat16,
        use_cpu=not on_gpu,
        ddp_find_unused_parameters=False,
        logging_steps=train.log_every,
        logging_nan_inf_filter=False,
        eval_strategy="no" if train.eval_every is None else "steps",
        eval_steps=train.eval_every,
        save_strategy="no",  # Checkpoints decides
        report_to="none",
        precompute_ref_log_probs=False,  # recorded at sampling
    )
    if config.n_gpu > 1:
        config._n_gpu = 1  # a process uses its `device()` alone, however many it sees
    return config


def lora_config(lora: Lora) -> LoraConfig:
    """PEFT's configuration of the adapter."""
    return LoraConfig(
        r=lora.r,
        lora_alpha=lora.alpha,
        use_rslora=lora.rslora,
        target_modules=lora.target_modules,
        lora_dropout=0.0,  # the policy starts as the reference: the first margin is 0
        task_type="CAUSAL_LM",
    )
