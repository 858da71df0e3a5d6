"""The trained policy in use: sampled beside the reference, and exported as a whole model."""

from pathlib import Path

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from experiments import export_policy, sample_prompt
from tests.support import stage_runs
from tests.support.tiny_trainer import move_adapter

pytestmark = pytest.mark.slow

PROMPT = "Movie review: a film"


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    return stage_runs.finished_workspace(tmp_path_factory.mktemp("finished")).folder


@pytest.fixture(autouse=True)
def workspace(finished, monkeypatch) -> None:
    monkeypatch.chdir(finished)


def sampled(capsys, *arguments: str) -> str:
    sample_prompt.main([*arguments, "--", PROMPT])
    return capsys.readouterr().out


def test_samples_of_both_models_come_from_the_seed(capsys):
    first = sampled(capsys, "--samples=3")
    lines = first.splitlines()
    assert lines[0] == PROMPT
    assert lines[1].split() == ["reference", "policy", "(sigmoid,", "beta", "0.1)"]
    assert sampled(capsys, "--samples=3") == first
    assert sampled(capsys, "--samples=3", "--seed=7") != first
    assert sampled(capsys, "--samples=3", "--temperature=0.2") != first
    # A sample does not depend on how many others there are.
    assert first.startswith(sampled(capsys, "--samples=1").rstrip("\n"))


def test_the_export_computes_what_the_adapter_does(tmp_path):
    reference = AutoModelForCausalLM.from_pretrained("models/reference", dtype=torch.float32)
    adapted = PeftModel.from_pretrained(reference, "models/policy")
    move_adapter(adapted)  # far from the reference, so that a lost adapter shows
    before = {path: path.read_bytes() for path in Path("models/policy").iterdir()}
    adapted.save_pretrained("models/policy")
    try:
        export_policy.main([str(tmp_path / "exported")])
    finally:
        for path, content in before.items():
            path.write_bytes(content)

    exported = AutoModelForCausalLM.from_pretrained(tmp_path / "exported", dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "exported")
    ids = torch.tensor([tokenizer(PROMPT).input_ids])
    with torch.inference_mode():
        wanted = adapted(ids).logits
        torch.testing.assert_close(exported(ids).logits, wanted, atol=1e-5, rtol=1e-5)
        with adapted.disable_adapter():
            assert (adapted(ids).logits - wanted).abs().max() > 1e-2
    assert tokenizer.get_vocab() == AutoTokenizer.from_pretrained("models/reference").get_vocab()
    assert exported.generation_config.eos_token_id == reference.generation_config.eos_token_id
    assert not list((tmp_path / "exported").glob("adapter*"))
