"""The policy's card, read back by huggingface_hub's own classes."""

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


def test_metadata_is_what_the_hub_reads_and_rows_what_a_reader_does(tmp_path):
    write_json(tmp_path / "source.json", {"repo": "you/base", "commit": "c" * 40})
    facts = {"DVC experiment": "calm-owl"}
    card = ModelCard(str(model_card(TRAINING, tmp_path, "me/policy", METRICS, facts)))
    assert card.data.library_name == "peft"
    assert card.data.base_model == "you/base"
    assert card.data.pipeline_tag == "text-generation"
    assert card.data.tags == ["trl", "dpo", "f-dpo", "jsd", "peft", "lora"]
    reward, kl = card.data.eval_results
    assert (reward.metric_type, reward.metric_value) == ("reward", 1.25)
    assert reward.metric_args == {"low": 1.0, "high": 1.5, "confidence": 0.95}
    assert reward.dataset_type == "tiny"
    assert kl.metric_value == 2.0
    rows = {
        "| loss | jsd |",
        "| lr | 1e-05 |",
        f"| base model, commit | {'c' * 40} |",
        "| DVC experiment | calm-owl |",
        "| reward | 1.25 | 1 to 1.5 |",
        "| kl | 2 |  |",
    }
    assert rows <= set(card.text.splitlines())


@pytest.mark.parametrize("loss", LOSSES)
def test_a_policy_that_was_not_evaluated_has_a_card_too(loss, tmp_path):
    training = TRAINING | {"loss": loss, "lora": None}
    card = ModelCard(str(model_card(training, tmp_path, "models/policy")))
    assert card.data.library_name == "transformers"
    assert (card.data.base_model, card.data.eval_results) == (None, None)
