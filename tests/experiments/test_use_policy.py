"""The trained policy in use: sampled beside the reference, and exported as a whole model."""

import json
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from experiments import export_policy, sample_prompt
from fdpo.core.errors import UserError
from fdpo.core.files import write_json
from stages import paths
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


def test_samples_of_both_models_come_from_the_seed(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    first = sampled(capsys, "--samples=3")
    lines = first.splitlines()
    assert lines[0] == PROMPT
    assert lines[1].split() == ["reference", "policy", "(sigmoid,", "beta", "0.1)"]
    assert lines.count("") == 3  # one before each row of samples
    assert sampled(capsys, "--samples=3") == first
    assert sampled(capsys, "--samples=3", "--seed=7") != first
    assert sampled(capsys, "--samples=3", "--temperature=0.2") != first
    # A sample does not depend on how many others there are.
    assert first.startswith(sampled(capsys, "--samples=1").rstrip("\n"))


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--samples=0", "p"], "samples = 0: Input should be greater than or equal to 1"),
        (["--temperature=nan", "p"], "temperature = nan: Input should be a finite number"),
        (["film " * 3000], "prompt: its "),
    ],
)
def test_what_cannot_be_sampled_is_refused_in_a_line(arguments, line):
    with pytest.raises(UserError) as refused:
        sample_prompt.main(arguments)
    assert len(refused.value.lines) == 1
    assert refused.value.lines[0].startswith(line)


def test_a_policy_of_another_study_is_refused():
    objective = json.loads(paths.POLICY.joinpath("objective.json").read_text())
    write_json(paths.POLICY / "objective.json", objective | {"study": "other"})
    try:
        with pytest.raises(UserError, match="trained with study = other"):
            sample_prompt.main([PROMPT])
    finally:
        write_json(paths.POLICY / "objective.json", objective)


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
    names = {path.name for path in (tmp_path / "exported").iterdir()}
    assert {"model.safetensors", "config.json", "objective.json"} <= names
    assert not any(name.startswith("adapter") for name in names)


@pytest.mark.parametrize("name", ["", "mine"])
def test_nothing_that_is_there_is_written_over(tmp_path, monkeypatch, name):
    (tmp_path / "mine").write_text("kept")
    monkeypatch.delattr(export_policy, "load_trained_models")
    with pytest.raises(UserError, match="exists already; name"):
        export_policy.main([str(tmp_path / name)])
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
