"""All stages behind `prepare` with references that are more than a Llama, and their numbers."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM, PreTrainedTokenizerBase

from benchmarks.families import REFUSED, SUPPORTED, Family, plain_logp
from fdpo.core import records
from fdpo.core.records import Generation
from fdpo.models.causal_lm import load_tokenizer
from tests.support import stage_runs, tiny
from tests.support.stage_runs import Workspace

pytestmark = pytest.mark.slow

REFERENCE = "models/reference"


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


CASES = {
    "a window that binds": (SUPPORTED["Mistral"], None),
    "logits that are scaled": (SUPPORTED["Granite"], None),
    "scores and logits that are capped": (SUPPORTED["Gemma 2"], None),
    "dropout of its own": (SUPPORTED["OPT"], None),
    "a tokenizer like Llama 2's": (SUPPORTED["Llama"], tiny.sentencepiece_like(append_end=True)),
}


@pytest.mark.parametrize(("family", "tokenizer"), CASES.values(), ids=CASES)
def test_all_stages_run_and_an_untrained_policy_is_the_reference(
    finished, tmp_path, family, tokenizer
):
    folder = with_reference(finished, tmp_path / "workspace", family, tokenizer)
    for stage in ("generate", "score", "pair", "split", "train", "evaluate"):
        ended = stage_runs.run(stage, folder, **finished.environment)
        assert ended.code == 0, f"{stage}: {ended.stderr}"

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


@pytest.mark.parametrize("name", REFUSED)
def test_a_model_that_is_not_computed_right_ends_in_one_line_before_any_work(
    finished, tmp_path, name
):
    folder = with_reference(finished, tmp_path / "workspace", REFUSED[name], None)
    before = stage_runs.digests(folder)
    ended = stage_runs.run("generate", folder, **finished.environment)
    assert ended.code == 2
    (line,) = ended.stderr.splitlines()
    assert line.startswith(f"error: {REFERENCE}: ")
    assert line.endswith("; choose a model of a family that docs/models.md lists")
    assert stage_runs.digests(folder) == before
