"""All stages behind `prepare` with references that are more than a Llama, and their numbers."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM, PreTrainedTokenizerBase

from fdpo.core import records
from fdpo.core.origin import add_to_origin
from fdpo.core.records import Generation
from fdpo.models.causal_lm import load_tokenizer
from tests.models.families import SUPPORTED, Family, plain_logp
from tests.support import stage_runs, tiny
from tests.support.settings import edited_study, set_knobs
from tests.support.stage_runs import Workspace

pytestmark = pytest.mark.slow

REFERENCE = "models/reference"
STAGES = stage_runs.STAGES[2:]


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Workspace:
    return stage_runs.finished_workspace(tmp_path_factory.mktemp("finished"))


def with_reference(
    finished: Workspace, folder: Path, family: Family, tokenizer: PreTrainedTokenizerBase | None
) -> Path:
    """A copy of the workspace with another reference, which learns next to nothing."""
    shutil.copytree(finished.folder, folder)
    set_knobs(folder, lr=1e-12)
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


def test_all_stages_run_in_bfloat16(finished, tmp_path):
    """Sampled and trained in bfloat16, by an adapter of all linear layers, measured in float32."""
    folder = with_reference(finished, tmp_path / "workspace", SUPPORTED["Llama"], None)
    add_to_origin(folder / REFERENCE, dtype="bfloat16")
    with edited_study(folder) as study:
        adapter = {"r": 2, "alpha": 4, "target_modules": "all-linear", "rslora": True}
        study["train"]["lora"] = adapter
    stage_runs.run_all(STAGES, folder, **finished.environment)

    metrics = json.loads((folder / "results/evaluate/metrics.json").read_text())
    assert abs(metrics["kl"]["value"]) < 1e-6  # the learning rate is next to nothing
    reference = AutoModelForCausalLM.from_pretrained(folder / REFERENCE).eval()
    rounding = [
        abs(completion.ref_logp - plain_logp(reference, record.prompt_ids, completion.ids))
        / len(completion.ids)
        for record in records.read(folder / "data/generations.jsonl", Generation)
        for completion in record.completions
    ]
    assert 1e-5 < sum(rounding) / len(rounding) < 0.05  # nats per token
