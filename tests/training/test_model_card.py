"""The policy's card, read back by huggingface_hub's own classes."""

from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from fdpo.core.files import write_json
from fdpo.losses import LOSSES
from fdpo.training.model_card import model_card

TRAINING = {"study": "tiny", "loss": "jsd", "beta": 0.5, "alpha": 0.3, "lr": 1e-5, "lora": {"r": 8}}
METRICS = {
    "reward": {"value": 1.25, "low": 1.0, "high": 1.5},
    "kl": {"value": 2.0, "low": None, "high": None},
}


@pytest.fixture
def reference(tmp_path: Path) -> Path:
    write_json(tmp_path / "source.json", {"repo": "you/base", "commit": "c" * 40})
    return tmp_path


def test_metadata_is_what_the_hub_reads(reference):
    card = ModelCard(str(model_card(TRAINING, reference, "me/policy", METRICS)))
    assert card.data.library_name == "peft"
    assert card.data.base_model == "you/base"
    assert card.data.pipeline_tag == "text-generation"
    assert card.data.tags == ["trl", "dpo", "f-dpo", "jsd", "peft", "lora"]
    reward, kl = card.data.eval_results
    assert (reward.metric_type, reward.metric_value) == ("reward", 1.25)
    assert reward.metric_args == {"low": 1.0, "high": 1.5, "confidence": 0.95}
    assert reward.dataset_type == "tiny"
    assert kl.metric_value == 2.0


def test_a_reader_finds_how_to_load_it_and_what_it_was_trained_with(reference):
    facts = {"DVC experiment": "calm-owl"}
    text = str(model_card(TRAINING, reference, "me/policy", METRICS, facts))
    assert 'AutoPeftModelForCausalLM.from_pretrained("me/policy")' in text
    assert 'AutoTokenizer.from_pretrained("you/base")' in text
    for row in (
        "| loss | jsd |",
        "| lr | 1e-05 |",
        f"| base model, commit | {'c' * 40} |",
        "| DVC experiment | calm-owl |",
        "| reward | 1.25 | 1 to 1.5 |",
        "| kl | 2 |  |",
    ):
        assert row in text.splitlines()


@pytest.mark.parametrize("loss", LOSSES)
def test_a_policy_that_was_not_evaluated_has_a_card_too(loss, tmp_path):
    training = TRAINING | {"loss": loss, "lora": None}
    card = ModelCard(str(model_card(training, tmp_path, "models/policy")))
    assert card.data.library_name == "transformers"
    assert card.data.base_model is None
    assert card.data.eval_results is None
    assert "AutoModelForCausalLM" in card.text
