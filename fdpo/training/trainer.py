"""TRL's DPOTrainer with the loss, the reference and the batches of this project."""

import contextlib
import math
from collections.abc import Sequence
from functools import partial
from typing import Any

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
from fdpo.losses import Objective, capped, f_dpo_loss
from fdpo.models.causal_lm import turn_off_randomness
from fdpo.models.logprobs import pair_logps
from fdpo.models.micro_batches import MicroBatch, shard_step, to_trl_columns
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
        if self.state.global_step == 0 and self.args.eval_strategy != "no":
            self.evaluate()
        model.train()
        turn_off_randomness(self.causal_lm)
        total = torch.zeros((), device=self.accelerator.device)
        for number, batch in enumerate(inputs, start=1):
            last = number == len(inputs)  # gradients are exchanged once a step
            with contextlib.nullcontext() if last else self.accelerator.no_sync(model):
                batch = batch.to(self.accelerator.device)
                with self.compute_loss_context_manager():
                    loss = self.compute_loss(model, batch) * batch.weight
                self.accelerator.backward(loss)
            total += loss.detach()
        self._check("loss", total.item(), self.state.global_step + 1)
        return total

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """Log the policy's own objective on the test pairs, once per step.

        Its values are those of `TEST_PAIR_CURVES`.
        """
        for entry in self.state.log_history:
            if entry["step"] == self.state.global_step and "eval_loss" in entry:
                return entry
        policy: Any = self.model
        policy.eval()
        values: list[list[float]] = []
        with torch.no_grad():
            for step in self.get_eval_dataloader():
                for batch in step:
                    batch = batch.to(self.accelerator.device)
                    logps = (batch.ref_chosen_logps, batch.ref_rejected_logps)
                    if self.state.global_step or not self.is_in_train:  # else π is the reference
                        with self.compute_loss_context_manager():
                            logps = policy(batch)
                    if batch.weight > 0:  # where weights are sharded, every process takes part
                        values += self._test_values(*logps, batch)
        every = torch.tensor(gather_object(values), dtype=torch.float64)
        loss, margin, untrained = every.T
        metrics = {
            "eval_loss": loss.mean().item(),
            "eval_loss_capped": capped(loss, untrained).mean().item(),
            "eval_loss_median": loss.quantile(0.5).item(),
            "eval_loss_fell": (loss < untrained).double().mean().item(),
            "eval_rewards/margins": margin.mean().item(),
            "eval_rewards/accuracies": (margin > 0).double().mean().item(),
        }
        super(DPOTrainer, self).log(metrics)
        return metrics

    def _test_values(
        self, chosen_logps: Tensor, rejected_logps: Tensor, batch: MicroBatch
    ) -> list[list[float]]:
        """Loss and margin of each pair, and its loss under the reference."""
        losses, chosen, rejected = self._losses(chosen_logps, rejected_logps, batch)
        untrained, *_ = self._losses(batch.ref_chosen_logps, batch.ref_rejected_logps, batch)
        return torch.stack([losses, chosen - rejected, untrained], dim=1).tolist()

    def _losses(self, chosen_logps: Tensor, rejected_logps: Tensor, batch: MicroBatch):
        """`f_dpo_loss` of the batch's pairs under these log-probabilities."""
        references = (batch.ref_chosen_logps, batch.ref_rejected_logps)
        return f_dpo_loss(self.objective, chosen_logps, rejected_logps, *references, *batch.lengths)

    def _compute_loss(self, model: nn.Module, inputs: MicroBatch, return_outputs: bool = False):
        chosen_logps, rejected_logps = model(inputs)
        if self.is_in_train and self.state.global_step == 0:
            self._check_start(chosen_logps, rejected_logps, inputs)
        losses, chosen, rejected = self._losses(chosen_logps, rejected_logps, inputs)
        if inputs.weight > 0:
            of_pairs = {
                "rewards/chosen": chosen,
                "rewards/rejected": rejected,
                "rewards/margins": chosen - rejected,
                "rewards/accuracies": (chosen > rejected).double(),
                "logps/chosen": chosen_logps,
                "logps/rejected": rejected_logps,
            }
            for name, values in of_pairs.items():  # one per pair, for TRL's `log` to average
                self._metrics["train"][name] += values.detach().tolist()
        return losses.mean()

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """As TRL's, with the values of all processes' pairs."""
        # Before the checkpoint of this step is written: the weights are no good any more.
        self._check("gradient", logs.get("grad_norm", 0.0), self.state.global_step)
        metrics = self._metrics["train"]
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
                f" {tokens:.0f} tokens; record them again with `dvc repro --force generate`"
            )

    def _check(self, what: str, value: float, step: int) -> None:
        """Raise `UserError` when a step's loss or the norm of its gradient is not finite."""
        if not math.isfinite(value):
            name, beta, lr = self.objective.loss, self.objective.beta, self.args.learning_rate
            raise UserError(
                f"train: the {what} of step {step} is {value} (loss {name}, beta {beta:g}, lr"
                f" {lr:g}); try a smaller lr"
            )
