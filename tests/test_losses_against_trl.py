"""The losses and their gradients are those of TRL's own DPOTrainer, on a tiny model."""

from pathlib import Path

import pytest
import torch
from datasets import Dataset
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
ONE = {"label_smoothing": 0.2, "per_device_train_batch_size": 1}
DIVERGENCES = {
    "sigmoid": "reverse_kl",
    "jsd": "js_divergence",
    "fkl": "forward_kl",
    "alpha": "alpha_divergence",
}
CASES = (  # an objective, α, TRL's loss_type and f_divergence_type, and more of its settings
    [
        (Objective(loss, BETA, alpha), "sigmoid", divergence, {})
        for loss, divergence in DIVERGENCES.items()
        for alpha in ([0.1, 0.5, 0.9] if loss == "alpha" else [0.5])
    ]
    + [
        (Objective(f"{loss}-hinge", BETA, 0.4), "hinge", DIVERGENCES[loss], {})
        for loss in ("jsd", "fkl", "alpha")
    ]
    + [
        (Objective(loss, BETA, 0.4, normalize="mean"), kind, divergence, {})
        for divergence, name in (
            ("reverse_kl", ("sigmoid", "ipo")),
            ("js_divergence", ("jsd", "jsd-squared")),
            ("forward_kl", ("fkl", "fkl-squared")),
            ("alpha_divergence", ("alpha", "alpha-squared")),
        )
        for loss, kind in zip(name, ("sigmoid_norm", "ipo"), strict=True)
    ]
    + [
        (
            Objective(loss, BETA, 0.4, label_noise=0.2),
            "robust",
            DIVERGENCES[loss],
            {"label_smoothing": 0.2},
        )
        for loss in ("sigmoid", "fkl")
    ]
    + [
        (Objective("hinge", BETA, 0.5), "hinge", "reverse_kl", {}),
        # TRL has conservative DPO in `aot` alone, DPO for a batch of one; its `sft` is a mean over
        # a batch's tokens, so these two are compared pair by pair.
        (Objective("sigmoid", BETA, 0.5, label_smoothing=0.2), "aot", "reverse_kl", ONE),
        (
            Objective("sigmoid", BETA, 0.5, chosen_nll=0.3),
            ["sigmoid", "sft"],
            "reverse_kl",
            {"loss_weights": [1.0, 0.3], "per_device_train_batch_size": 1},
        ),
    ]
)


def words(ids: list[int]) -> str:
    return "".join(f" {number}" for number in ids)


def trl_trainer(folder: Path, alpha: float, kind, divergence: str, more: dict) -> DPOTrainer:
    rows = [
        {"prompt": words(prompt), "chosen": words(chosen), "rejected": words(rejected)}
        for prompt, chosen, rejected in PAIRS
    ]
    settings = {
        "loss_type": kind if isinstance(kind, list) else [kind],
        "f_divergence_type": divergence,
        "f_alpha_divergence_coef": 1 - alpha,
        "per_device_train_batch_size": len(PAIRS),
    } | more
    args = DPOConfig(
        output_dir=str(folder),
        beta=BETA,
        precompute_ref_log_probs=True,
        report_to="none",
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        **settings,
    )
    model = tiny.llama(torch.float32)
    model.set_attn_implementation("sdpa")
    return DPOTrainer(
        model=model,
        args=args,
        train_dataset=Dataset.from_list(rows),
        processing_class=tiny.tokenizer(),
    )


def name_of(case) -> str:
    objective, *_ = case
    extras = [
        f"{name}={getattr(objective, name)}"
        for name in ("normalize", "label_smoothing", "label_noise", "chosen_nll")
        if getattr(objective, name) not in (0, "sum")
    ]
    return " ".join([objective.loss, str(objective.alpha), *extras])


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_losses_and_gradients_are_those_of_trl(case, tmp_path):
    objective, *trl = case
    trainer = trl_trainer(tmp_path, objective.alpha, *trl)
    model = trainer.model
    ended = [  # TRL ends every completion with end-of-text; its sampler has an order of its own
        (prompt, [*chosen, tiny.END], [*rejected, tiny.END]) for prompt, chosen, rejected in PAIRS
    ]
    place = 0
    for batch in trainer.get_train_dataloader():
        texts = [
            next(pair for pair in ended if [*pair[0], *pair[1]] == row)
            for row in chosen_rows(batch)
        ]
        logps = torch.stack(
            [
                torch.stack([tiny.plain_logp(model, pair[0], pair[side]) for pair in texts])
                for side in (1, 2)
            ]
        )
        reference = logps.detach() - RATIOS[:, place : place + len(texts)]
        batch |= {"ref_chosen_logps": reference[0], "ref_rejected_logps": reference[1]}
        place += len(texts)

        theirs = trainer.compute_loss(model, batch)
        expected = torch.autograd.grad(theirs, list(model.parameters()))
        lengths = [torch.tensor([len(pair[side]) for pair in texts]) for side in (1, 2)]
        fdpo, *_ = f_dpo_loss(objective, *logps, *reference, *lengths)
        torch.testing.assert_close(fdpo.mean(), theirs, rtol=2e-5, atol=1e-6)
        found = torch.autograd.grad(fdpo.mean(), list(model.parameters()))
        scale = max(gradient.abs().max().item() for gradient in expected)
        assert scale > 1e-3
        for mine, other in zip(found, expected, strict=True):
            torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-5 * scale)
    assert place == len(PAIRS)


def chosen_rows(batch: dict[str, torch.Tensor]) -> list[list[int]]:
    """The token ids of each prompt with its chosen completion, without padding."""
    ids, mask = (batch[name].chunk(2)[0] for name in ("input_ids", "attention_mask"))
    return [row[kept.bool()].tolist() for row, kept in zip(ids, mask, strict=True)]
