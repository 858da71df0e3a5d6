"""TRL's DPOTrainer with the loss, the reference and the batches of this project."""

import contextlib
import math
from collections.abc import Sequence
from functools import partial
from typing import Any, cast

import torch
from accelerate.data_loader import prepare_data_loader
from accelerate.utils import gather_object
from datasets import Dataset
from peft import PeftConfig
from torch import Tensor, nn
from torch.utils.data import DataLoader
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from trl import DPOConfig, DPOTrainer

from fdpo.core.errors import UserError
from fdpo.core.records import Pair
from fdpo.losses import Objective, f_dpo_loss
from fdpo.models.causal_lm import turn_off_randomness
from fdpo.models.logprobs import pair_logps
from fdpo.models.micro_batches import MicroBatch, shard_step, to_trl_columns
from fdpo.training.merged_adapter import merged_adapter
from fdpo.training.pair_order import PromptOrder

# How far the first step's policy may be from the recorded reference: bfloat16's rounding.
START_NATS, START_NATS_PER_TOKEN = 0.25, 0.05


class FDPOTrainer(DPOTrainer):
    """f-DPO on recorded completions.

    Three things replace TRL's own: rows arrive as token ids with the reference log-probabilities
    recorded at sampling, so nothing is re-tokenised and no reference model runs; a step's distinct
    sequences run once, behind their shared prompts, in micro-batches of bounded size; and the loss
    is `fdpo.losses.f_dpo_loss`, whose implicit rewards β·g(ρ) are the ones logged.

    With several processes a step is shared out among them: `args` give each one's part of a step's
    pairs, and losses, gradients and what is logged are means over the pairs of all.
    """

    objective: Objective

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        train: Sequence[Pair],
        test: Sequence[Pair],
        args: DPOConfig,
        objective: Objective,
        peft_config: PeftConfig | None,
        group_by_prompt: bool,
        tokens_per_forward: int,
    ):
        self.causal_lm = model  # LoRA layers are put into it in place
        self.objective = objective
        self.group_by_prompt = group_by_prompt
        super().__init__(
            model=model,
            args=args,
            train_dataset=Dataset.from_list(to_trl_columns(train)),  # in memory: no cache files
            eval_dataset=Dataset.from_list(to_trl_columns(test)),
            processing_class=tokenizer,
            data_collator=partial(  # type: ignore[arg-type]  # micro-batches, not one dict
                shard_step,
                tokens=tokens_per_forward,
                process=args.process_index,
                processes=args.world_size,
            ),
            peft_config=peft_config,
        )
        self.ref_model = None  # TRL loads one where all parameters are trained
        self._test_logps: list[tuple[float, float]] = []
        # What wraps the model for several processes acts on its forward, so the work is put there.
        trained: Any = self.model
        trained.forward = partial(pair_logps, model)

    def _prepare_dataset(self, dataset: Dataset, *_: Any) -> Dataset:
        return dataset

    def _get_train_sampler(self, train_dataset: Dataset | None = None) -> PromptOrder:
        dataset: Any = self.train_dataset if train_dataset is None else train_dataset
        return PromptOrder(dataset["prompt_ids"], self.args.seed, self.group_by_prompt)

    def _get_dataloader(  # type: ignore[override]  # the rest of its arguments plays no part here
        self, dataset: Dataset, description: str, batch_size: int, sampler_fn=None, **_: Any
    ) -> DataLoader:
        """Whole steps for every process; the collator keeps its share.

        Accelerate's own division repeats pairs where the last step is not full.
        """
        loader = DataLoader(
            dataset,
            batch_size * self.args.world_size,
            sampler=sampler_fn(dataset) if sampler_fn else None,
            collate_fn=self.data_collator,
        )
        return prepare_data_loader(loader, num_processes=1, process_index=0)

    def create_model_card(self, *_: Any, **__: Any) -> None:
        """None for a checkpoint; the policy gets its own (fdpo.training.model_card)."""

    def training_step(  # type: ignore[override]
        self, model: nn.Module, inputs: list[MicroBatch], num_items_in_batch: Any = None
    ) -> Tensor:
        """Sum the gradients of a step's micro-batches; return the mean loss over its pairs.

        Of several processes each returns its part, and Trainer logs the mean of them.
        """
        self._test_logps = []  # of weights that the step changes
        model.train()
        turn_off_randomness(self.causal_lm)
        total = torch.zeros((), device=self.accelerator.device)
        for number, batch in enumerate(inputs, start=1):
            last = number == len(inputs)  # gradients are exchanged once a step
            with contextlib.nullcontext() if last else self.accelerator.no_sync(model):
                loss, *_ = self._weighted_loss(model, batch)
                self.accelerator.backward(loss)
            total += loss.detach()
        self._check("loss", total.item(), self.state.global_step + 1)
        return total

    def prediction_step(  # type: ignore[override]
        self, model: nn.Module, inputs: list[MicroBatch], *_: Any, **__: Any
    ) -> tuple[Tensor, None, None]:
        """The loss of a step's pairs, without gradients; the Trainer wants no predictions."""
        total = torch.zeros((), device=self.accelerator.device)
        logps: dict[int, tuple[float, float]] = {}
        with torch.no_grad():
            for batch in inputs:
                loss, chosen, rejected = self._weighted_loss(model, batch)
                total += loss
                values = zip(chosen.tolist(), rejected.tolist(), strict=True)
                logps |= zip(batch.indices.tolist(), values, strict=True)
        self._test_logps += [logps[place] for place in sorted(logps)]
        return self.accelerator.reduce(total, "mean"), None, None

    def _weighted_loss(self, model: nn.Module, batch: MicroBatch) -> tuple[Tensor, Tensor, Tensor]:
        """The loss by its share of the step, and the pairs' log π(chosen) and log π(rejected)."""
        batch = batch.to(self.accelerator.device)
        with self.compute_loss_context_manager():
            loss, (chosen, rejected) = self.compute_loss(model, batch, return_outputs=True)
            return loss * batch.weight, chosen, rejected

    def evaluate(self, *args: Any, **options: Any) -> dict[str, float]:
        """As TRL's, of the policy as it will be loaded: with its adapter merged in."""
        self._test_logps = []
        with self._as_loaded():
            return super().evaluate(*args, **options)

    def test_pair_logps(self) -> list[tuple[float, float]] | None:
        """log π of each test pair's chosen and rejected completion, in nats, after training.

        They are those of the last evaluation; a run that was resumed behind it reads the pairs
        anew. None where the policy, once it is loaded, gives others: evaluation loads it in one
        process and in float32, and computes in bfloat16 on a GPU.
        """
        if not self._reads_as_loaded:
            return None
        policy, pairs = cast(nn.Module, self.model), cast(Dataset, self.eval_dataset)
        if len(self._test_logps) < len(pairs):
            self._test_logps = []
            policy.eval()
            with self._as_loaded():
                for step in self.get_eval_dataloader():
                    self.prediction_step(policy, step)
            self._metrics["eval"].clear()
        return self._test_logps

    def _as_loaded(self) -> contextlib.AbstractContextManager:
        if not self._reads_as_loaded:
            return contextlib.nullcontext()
        return merged_adapter(cast(nn.Module, self.model))

    @property
    def _reads_as_loaded(self) -> bool:
        on_gpu = self.accelerator.device.type == "cuda"
        return (
            self.args.world_size == 1
            and self.args.bf16 == on_gpu
            and all(p.dtype.itemsize >= torch.float32.itemsize for p in self.causal_lm.parameters())
        )

    def _compute_loss(self, model: nn.Module, inputs: MicroBatch, return_outputs: bool = False):
        chosen_logps, rejected_logps = model(inputs)
        if self.is_in_train and self.causal_lm.training and self.state.global_step == 0:
            self._check_start(chosen_logps, rejected_logps, inputs)
        losses, chosen, rejected = f_dpo_loss(
            self.objective,
            chosen_logps,
            rejected_logps,
            inputs.ref_chosen_logps,
            inputs.ref_rejected_logps,
        )
        if inputs.weight > 0:
            self._record(
                {
                    "rewards/chosen": chosen,
                    "rewards/rejected": rejected,
                    "rewards/margins": chosen - rejected,
                    "rewards/accuracies": (chosen > rejected).double(),
                    "logps/chosen": chosen_logps,
                    "logps/rejected": rejected_logps,
                }
            )
        loss = losses.mean()
        return (loss, (chosen_logps, rejected_logps)) if return_outputs else loss

    def _record(self, values: dict[str, Tensor]) -> None:
        """Keep values [pairs], one per pair, for TRL's `log` to average."""
        metrics = self._metrics["train" if self.causal_lm.training else "eval"]
        for name, of_pairs in values.items():
            metrics[name] += of_pairs.detach().tolist()

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """As TRL's, with the values of all processes' pairs."""
        # Before the checkpoint of this step is written: the weights are no good any more.
        self._check("gradient", logs.get("grad_norm", 0.0), self.state.global_step)
        metrics = self._metrics["train" if self.causal_lm.training else "eval"]
        everyone = gather_object([dict(metrics)])
        metrics.clear()
        for of_process in everyone:
            for name, values in of_process.items():
                metrics[name] += values
        super().log(logs, start_time)

    def _check_start(self, chosen: Tensor, rejected: Tensor, batch: MicroBatch) -> None:
        """Raise `UserError` unless the policy starts as the reference: log-ratios and margins of 0.

        The mean is compared, with room for bfloat16, which recorded and trained log-probabilities
        may have been computed in, on different machines.
        """
        ratios = torch.cat([chosen - batch.ref_chosen_logps, rejected - batch.ref_rejected_logps])
        difference = ratios.detach().abs().mean().item()
        tokens = len(batch.branches.targets) / batch.branches.sequences
        if not difference <= START_NATS + START_NATS_PER_TOKEN * tokens:
            raise UserError(
                f"train: before the first step the policy's log-probabilities are {difference:.2g}"
                f" nats off the recorded ones of the reference, in the mean over completions of"
                f" {tokens:.0f} tokens; record them anew with `dvc repro --force generate`"
            )

    def _check(self, what: str, value: float, step: int) -> None:
        """Raise `UserError` when a step's loss or the norm of its gradient is not finite."""
        if not math.isfinite(value):
            name, beta, lr = self.objective.loss, self.objective.beta, self.args.learning_rate
            raise UserError(
                f"train: the {what} of step {step} is {value} (loss {name}, beta {beta:g}, lr"
                f" {lr:g}); try a smaller lr such as {lr / 10:g}, a larger beta, or loss=sigmoid"
            )
