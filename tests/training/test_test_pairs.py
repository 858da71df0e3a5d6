"""Test pairs are read once: what training keeps of them is what the saved policy says."""

import numpy as np
import pytest
import torch

from fdpo.config.study import Lora
from fdpo.evaluation.evaluate_policy import measure_test_pairs
from fdpo.evaluation.policy import load_policy
from fdpo.kept_logps import KEPT_FILE, kept_logps
from fdpo.losses import Objective
from fdpo.models.causal_lm import load_causal_lm
from fdpo.models.logprobs import pair_logps
from fdpo.models.micro_batches import micro_batches, to_trl_columns
from fdpo.training.merged_adapter import merged_adapter
from fdpo.training.saved_policy import save_policy
from fdpo.training.trl_config import lora_config
from tests.support import tiny, tiny_trainer

TEXTS = [  # several pairs of a prompt, a step that is not full, prompts out of order by length
    ([2, 6, 4], [3], [3, 8, 3]),
    ([3, 1], [4, 1, 5], [9, 2]),
    ([5], [8, 9, 7, 9], [3, 2]),
    ([3, 1], [4, 1, 5], [6]),
    ([5], [3, 2], [3, 8]),
]
PAIRS_PER_STEP, TOKENS_PER_FORWARD = 2, 16  # the latter as tiny_trainer has it
TRAINING = {"loss": "sigmoid", "beta": 0.5, "lora": {"r": 2}}


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reference")
    tiny.llama(torch.float32).save_pretrained(folder)
    tiny.tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def pairs():
    model = tiny.llama(torch.float32)
    model.set_attn_implementation("sdpa")
    return [tiny_trainer.recorded(model, *texts) for texts in TEXTS]


def build(reference, pairs, folder, **settings):
    return tiny_trainer.build(
        load_causal_lm(reference, dtype=settings.pop("dtype", torch.float32)),
        pairs,
        folder,
        lora_config(Lora(r=2, alpha=4, target_modules=["q_proj", "v_proj"])),
        per_device_train_batch_size=2,
        per_device_eval_batch_size=PAIRS_PER_STEP,
        learning_rate=0.05,
        num_train_epochs=2,
        eval_strategy="epoch",
        **settings,
    )


@torch.inference_mode()
def read_in_steps(policy, pairs) -> list[tuple[float, float]]:
    rows = to_trl_columns(pairs)
    logps = []
    for start in range(0, len(rows), PAIRS_PER_STEP):
        step = {}
        for batch in micro_batches(rows[start : start + PAIRS_PER_STEP], TOKENS_PER_FORWARD):
            sides = zip(*(side.tolist() for side in pair_logps(policy, batch)), strict=True)
            step |= zip(batch.indices.tolist(), sides, strict=True)
        logps += [step[place] for place in sorted(step)]
    return logps


@pytest.mark.parametrize("evaluated", [True, False], ids=["trained", "resumed behind its end"])
def test_what_is_kept_is_what_the_saved_policy_says(evaluated, reference, pairs, tmp_path):
    trainer = build(reference, pairs, tmp_path)
    trainer.train()
    if not evaluated:
        trainer._test_logps = []
    save_policy(trainer, tmp_path / "policy", TRAINING, reference, pairs)
    kept = kept_logps(tmp_path / "policy", pairs)
    assert kept is not None
    policy = load_policy(load_causal_lm(reference), tmp_path / "policy")
    assert kept == read_in_steps(policy, pairs)  # to the bit, in the same batches
    objective = Objective("fkl", 0.5, 0.5)
    read = vars(measure_test_pairs(policy, pairs, objective, 16))
    taken = vars(measure_test_pairs(policy, pairs, objective, 16, kept))
    for name, values in read.items():
        np.testing.assert_allclose(taken[name], values, rtol=1e-5, atol=1e-6, err_msg=name)
    assert np.abs(read["chosen_logp_change"]).max() > 0.1  # the policy has moved


def test_kept_values_are_taken_in_place_of_reading(reference, pairs):
    policy = load_causal_lm(reference)
    kept = [(-float(place), -10.0 - place) for place in range(len(pairs))]
    measures = measure_test_pairs(policy, pairs, Objective("sigmoid", 1.0, 0.5), 16, kept)
    by_prompt = {}
    for prompt, change in zip(measures.prompts, measures.chosen_logp_change, strict=True):
        by_prompt.setdefault(prompt, []).append(change)
    expected = {}
    for pair, (chosen, _) in zip(pairs, kept, strict=True):
        expected.setdefault(pair.id, []).append(chosen - pair.ref_chosen_logp)
    assert {prompt: sorted(row) for prompt, row in by_prompt.items()} == {
        prompt: sorted(row) for prompt, row in expected.items()
    }


def test_an_evaluation_leaves_the_weights_as_they_were(reference, pairs, tmp_path):
    trainer = build(reference, pairs, tmp_path)
    tiny_trainer.move_adapter(trainer.model)
    before = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    with merged_adapter(trainer.model):
        layer = trainer.causal_lm.model.layers[0].self_attn.q_proj
        assert layer.merged
        assert not torch.equal(
            layer.base_layer.weight,
            before["base_model.model.model.layers.0.self_attn.q_proj.base_layer.weight"],
        )
    trainer.evaluate()
    assert not layer.merged
    for name, value in trainer.model.state_dict().items():
        assert torch.equal(value, before[name]), name


@pytest.mark.parametrize(
    "settings", [{"dtype": torch.bfloat16}, {"bf16": True}], ids=["held", "computed"]
)
def test_nothing_is_kept_of_what_bfloat16_says(settings, reference, pairs, tmp_path):
    trainer = build(reference, pairs, tmp_path, **settings)
    save_policy(trainer, tmp_path / "policy", TRAINING, reference, pairs)
    assert not (tmp_path / "policy" / KEPT_FILE).exists()
    assert kept_logps(tmp_path / "policy", pairs) is None
