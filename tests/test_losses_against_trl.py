"""The losses and their gradients are those of TRL's own DPOTrainer, on a tiny model."""

from pathlib import Path

import pytest
import torch
from datasets import Dataset
from tokenizers.pre_tokenizers import Whitespace
from transformers import PreTrainedTokenizerFast
from trl import DPOConfig, DPOTrainer

from fdpo.losses import Objective, f_dpo_loss
from tests.support import tiny

BETA = 0.7
PAIRS = [  # prompt, chosen, rejected
    ([3, 1], [4, 1, 5], [9, 2]),
    ([5], [8, 9, 7, 9], [3, 2]),
    ([2, 6, 4], [3], [3, 8, 3]),
]
RATIOS = torch.tensor([[-9.0, -0.4, 6.0], [2.0, 0.3, -12.0]])  # ρ of the chosen, of the rejected
TRL_NAMES = {  # loss_type and f_divergence_type
    "sigmoid": ("sigmoid", "reverse_kl"),
    "hinge": ("hinge", "reverse_kl"),
    "jsd": ("sigmoid", "js_divergence"),
    "fkl": ("sigmoid", "forward_kl"),
    "alpha": ("sigmoid", "alpha_divergence"),
}


def words(ids: list[int]) -> str:
    return "".join(f" {number}" for number in ids)


def tokenizer() -> PreTrainedTokenizerFast:
    made = tiny.tokenizer()
    made.backend_tokenizer.pre_tokenizer = Whitespace()
    return made


def trl_trainer(folder: Path, loss: str, alpha: float) -> DPOTrainer:
    loss_type, divergence = TRL_NAMES[loss]
    rows = [
        {"prompt": words(prompt), "chosen": words(chosen), "rejected": words(rejected)}
        for prompt, chosen, rejected in PAIRS
    ]
    args = DPOConfig(
        output_dir=str(folder),
        loss_type=[loss_type],
        f_divergence_type=divergence,
        f_alpha_divergence_coef=1 - alpha,
        beta=BETA,
        precompute_ref_log_probs=True,
        per_device_train_batch_size=len(PAIRS),
        report_to="none",
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
    )
    model = tiny.llama(torch.float32)
    model.set_attn_implementation("sdpa")
    return DPOTrainer(
        model=model, args=args, train_dataset=Dataset.from_list(rows), processing_class=tokenizer()
    )


@pytest.mark.parametrize("alpha", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("loss", TRL_NAMES)
def test_losses_and_gradients_are_those_of_trl(loss, alpha, tmp_path):
    trainer = trl_trainer(tmp_path, loss, alpha)
    model = trainer.model
    (batch,) = trainer.get_train_dataloader()
    ended = [  # TRL ends every completion with end-of-text; its sampler has an order of its own
        (prompt, [*chosen, tiny.END], [*rejected, tiny.END]) for prompt, chosen, rejected in PAIRS
    ]
    texts = [
        next(pair for pair in ended if [*pair[0], *pair[1]] == row) for row in chosen_rows(batch)
    ]
    logps = torch.stack(
        [
            torch.stack([tiny.plain_logp(model, pair[0], pair[side]) for pair in texts])
            for side in (1, 2)
        ]
    )
    reference = logps.detach() - RATIOS
    batch |= {"ref_chosen_logps": reference[0], "ref_rejected_logps": reference[1]}

    theirs = trainer.compute_loss(model, batch)
    expected = torch.autograd.grad(theirs, list(model.parameters()))
    ours, *_ = f_dpo_loss(Objective(loss, BETA, alpha), *logps, *reference)
    torch.testing.assert_close(ours.mean(), theirs, rtol=2e-5, atol=1e-6)
    found = torch.autograd.grad(ours.mean(), list(model.parameters()))
    scale = max(gradient.abs().max().item() for gradient in expected)
    assert scale > 1e-3
    for mine, other in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-5 * scale)


def chosen_rows(batch: dict[str, torch.Tensor]) -> list[list[int]]:
    """The token ids of each prompt with its chosen completion, without padding."""
    ids, mask = (batch[name].chunk(2)[0] for name in ("input_ids", "attention_mask"))
    return [row[kept.bool()].tolist() for row, kept in zip(ids, mask, strict=True)]
