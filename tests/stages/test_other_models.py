"""All stages behind `prepare` with references that are more than a Llama, and their numbers."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    GPT2Config,
    GPT2ForSequenceClassification,
    PreTrainedTokenizerBase,
)

from fdpo.config.sources import Classifier
from fdpo.core import records
from fdpo.core.origin import add_to_origin
from fdpo.core.records import Generation, ScoredGeneration
from fdpo.models.causal_lm import load_tokenizer
from fdpo.scoring import classifier
from tests.models.families import REFUSED, SUPPORTED, Family, plain_logp
from tests.support import stage_runs, tiny
from tests.support.settings import edited_study
from tests.support.stage_runs import Workspace

pytestmark = pytest.mark.slow

REFERENCE = "models/reference"
REWARD = "models/reward"
STAGES = stage_runs.STAGES[2:]


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Workspace:
    return stage_runs.finished_workspace(tmp_path_factory.mktemp("finished"))


def with_reference(
    finished: Workspace, folder: Path, family: Family, tokenizer: PreTrainedTokenizerBase | None
) -> Path:
    """A copy of the workspace with another reference, which learns next to nothing."""
    shutil.copytree(finished.folder, folder)
    text = (folder / "params.yaml").read_text()
    (folder / "params.yaml").write_text(re.sub(r"(?m)^lr: \S+", "lr: 1.0e-12", text))
    tokenizer = tokenizer or load_tokenizer(folder / REFERENCE)
    ids = {"vocab_size": len(tokenizer), "eos_token_id": tokenizer.eos_token_id}
    model = replace(family, settings=family.settings | ids).build()
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    shutil.rmtree(folder / REFERENCE)
    model.save_pretrained(folder / REFERENCE)
    tokenizer.save_pretrained(folder / REFERENCE)
    return folder


@pytest.mark.parametrize(
    ("name", "tokenizer"),
    [
        ("Gemma 2", None),  # scores and logits are capped, and a window binds
        ("Llama", tiny.sentencepiece_like(append_end=True)),
        pytest.param("Mistral", None, marks=pytest.mark.nightly),  # a window that binds
        pytest.param("Granite", None, marks=pytest.mark.nightly),  # logits are scaled
        pytest.param("OPT", None, marks=pytest.mark.nightly),  # dropout of its own
    ],
)
def test_all_stages_run_and_an_untrained_policy_is_the_reference(
    finished, tmp_path, name, tokenizer
):
    folder = with_reference(finished, tmp_path / "workspace", SUPPORTED[name], tokenizer)
    stage_runs.run_all(STAGES, folder, **finished.environment)

    metrics = json.loads((folder / "results/evaluate/metrics.json").read_text())
    assert abs(metrics["kl"]["value"]) < 1e-6
    assert abs(metrics["forward_kl_token_sum"]["value"]) < 1e-6

    model = AutoModelForCausalLM.from_pretrained(
        folder / REFERENCE, attn_implementation="eager"
    ).eval()
    decode = load_tokenizer(folder / REFERENCE).decode
    checked = 0
    for record in records.read(folder / "data/generations.jsonl", Generation):
        prompt = decode(record.prompt_ids, skip_special_tokens=True)
        for completion in record.completions:
            expected = plain_logp(model, record.prompt_ids, completion.ids)
            assert completion.ref_logp == pytest.approx(expected, abs=1e-3)
            whole = decode([*record.prompt_ids, *completion.ids], skip_special_tokens=True)
            assert whole == prompt + completion.text
            checked += 1
    assert checked > 20


def test_all_stages_run_in_bfloat16_and_with_a_reward_model_without_a_padding_token(
    finished, tmp_path
):
    """Sampled and trained in bfloat16, by an adapter of all linear layers, measured in float32.

    The reward model is a GPT-2 with one output, as most of preference tuning are made.
    """
    folder = with_reference(finished, tmp_path / "workspace", SUPPORTED["Llama"], None)
    add_to_origin(folder / REFERENCE, dtype="bfloat16")
    with edited_study(folder) as study:
        adapter = {"r": 2, "alpha": 4, "target_modules": "all-linear", "rslora": True}
        study["train"]["lora"] = adapter
    shutil.rmtree(folder / REWARD)
    tokenizer = load_tokenizer(folder / REFERENCE)
    tokenizer.pad_token = None
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=len(tokenizer), n_positions=128, n_embd=16, n_layer=2, n_head=2, num_labels=1
    )
    GPT2ForSequenceClassification(config).save_pretrained(folder / REWARD)
    tokenizer.save_pretrained(folder / REWARD)
    section = Classifier(path="reward", label=0, too_long="refuse", end="given")
    classifier.write(folder / REWARD, section)
    stage_runs.run_all(STAGES, folder, **finished.environment)

    metrics = json.loads((folder / "results/evaluate/metrics.json").read_text())
    assert abs(metrics["kl"]["value"]) < 1e-6  # the learning rate is next to nothing
    reference = AutoModelForCausalLM.from_pretrained(folder / REFERENCE).eval()
    reward = AutoModelForSequenceClassification.from_pretrained(folder / REWARD).eval()
    rounding, rewards = [], []
    for record in records.read(folder / "data/scores.jsonl", ScoredGeneration):
        for completion in record.completions:
            exact = plain_logp(reference, record.prompt_ids, completion.ids)
            rounding.append(abs(completion.ref_logp - exact) / len(completion.ids))
            inputs = tokenizer(record.prompt + completion.text, return_tensors="pt")
            with torch.inference_mode():
                alone = reward(input_ids=inputs.input_ids).logits[0, 0].item()
            assert completion.reward == pytest.approx(alone, abs=1e-5)
            rewards.append(completion.reward)
    assert 1e-5 < sum(rounding) / len(rounding) < 0.05  # nats per token
    assert len(rewards) > 20
    assert max(rewards) - min(rewards) > 0.01


def test_a_model_that_is_not_computed_right_ends_in_one_line_before_any_work(finished, tmp_path):
    family = next(iter(REFUSED.values()))  # the others: tests/models
    folder = with_reference(finished, tmp_path / "workspace", family, None)
    before = stage_runs.digests(folder)
    ended = stage_runs.run("generate", folder, **finished.environment)
    assert ended.code == 2
    (line,) = ended.stderr.splitlines()
    assert line.startswith(f"error: {REFERENCE}: ")
    assert stage_runs.digests(folder) == before
