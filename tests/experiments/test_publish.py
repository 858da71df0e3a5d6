"""experiments.publish: what it uploads. A folder takes the place of the Hub."""

import json
import shutil
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from experiments import publish
from fdpo.core import records
from fdpo.core.errors import UserError
from fdpo.core.files import write_json
from fdpo.models.causal_lm import load_tokenizer
from tests.support import hub_repos, tiny

SOURCE = {"repo": "you/base", "revision": "main", "commit": "c" * 40, "weights": "safetensors"}


class Hub:
    """What `publish` asks of the Hub's client."""

    folder = Path()

    def __init__(self, token: str):
        """With any token."""

    def create_repo(self, repo: str, repo_type: str, exist_ok: bool) -> str:
        return f"https://hub/{repo}"

    def upload_folder(self, repo_id: str, repo_type: str, folder_path: Path) -> None:
        shutil.copytree(folder_path, self.folder / repo_id, dirs_exist_ok=True)


@pytest.fixture
def uploaded(tmp_path, monkeypatch) -> Path:
    """The Hub's folder. The working directory is a project with what publishing reads."""
    for name in ("project/models/policy", "project/models/reference", "hub"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "project")
    monkeypatch.setattr(Hub, "folder", tmp_path / "hub")
    monkeypatch.setattr(publish, "HfApi", Hub)
    monkeypatch.setattr(publish, "get_token", lambda: "login")
    monkeypatch.setattr(publish, "hf_hub_download", base_card)
    monkeypatch.delenv("DVC_EXP_NAME", raising=False)
    for folder in ("models/policy", "results/evaluate"):
        objective = {"loss": "jsd", "beta": 0.5, "alpha": 0.3, "lr": 1e-5}
        write_json(Path(folder, "objective.json"), objective)
    config = {"base_model_name_or_path": "models/reference"}
    write_json(Path("models/policy/adapter_config.json"), config)
    Path("models/policy/adapter_model.safetensors").write_bytes(b"weights")
    write_json(Path("models/reference/source.json"), SOURCE)
    names = ("reward", "reward_difference", "kl")
    metrics = {name: {"value": 1.25, "low": 1.0, "high": 1.5} for name in names}
    write_json(Path("results/evaluate/metrics.json"), metrics)
    return tmp_path / "hub"


def base_card(repo: str, name: str, revision: str) -> str:
    """The base model's card on the disk, as hf_hub_download gives it."""
    assert (repo, name, revision) == ("you/base", "README.md", "c" * 40)
    Path("base.md").write_text("---\nlicense: apache-2.0\nlanguage:\n- en\ntags:\n- x\n---\n")
    return "base.md"


def test_the_policy_is_uploaded_with_its_card(uploaded, monkeypatch, capsys):
    monkeypatch.setenv("DVC_EXP_NAME", "brave-hare")
    texts = {"prompts": {"repo": "you/texts", "revision": "main", "commit": "d" * 40}}
    write_json(Path("data/source.json"), texts)
    publish.main(["me/policy"])
    assert capsys.readouterr().out == "https://hub/me/policy\n"
    published = uploaded / "me/policy"
    assert (published / "adapter_model.safetensors").read_bytes() == b"weights"
    config = json.loads((published / "adapter_config.json").read_text())
    assert config == {"base_model_name_or_path": "you/base", "revision": "c" * 40}
    card = ModelCard.load(published / "README.md")
    rows = (
        "| loss | jsd |",
        "| alpha | 0.3 |",
        f"| base model, commit | {'c' * 40} |",
        "| DVC experiment | brave-hare |",
        "| reward | 1.25 | 1 to 1.5 |",
    )
    assert set(rows) <= set(card.text.splitlines())
    assert (card.data.base_model, card.data.license) == ("you/base", "apache-2.0")
    assert (card.data.language, card.data.datasets) == (["en"], ["you/texts"])
    assert len(list(published.iterdir())) == 3


def test_pairs_are_published_as_text(uploaded):
    hub_repos.gpt2(Path("models/reference"))
    tokenizer = load_tokenizer(Path("models/reference"))
    chosen = [*tokenizer.encode(" was great"), tokenizer.eos_token_id]
    pair = tiny.pair(tokenizer.encode("The movie"), chosen, tokenizer.encode(" was bad"))
    for split in ("train", "test"):
        records.write(f"data/{split}.jsonl", [pair])
    publish.main(["me/policy", "--pairs"])
    row = json.loads((uploaded / "me/policy-pairs/train.jsonl").read_text())
    texts = {"prompt": "The movie", "chosen": " was great", "rejected": " was bad"}
    assert row == texts | {"chosen_reward": 1.0, "rejected_reward": 0.0}


def test_of_a_model_that_nobody_else_has_a_whole_policy_alone_is_published(uploaded):
    origin = {"folder": "user_data/model", "sha256": "0" * 64, "weights": "safetensors"}
    write_json(Path("models/reference/source.json"), origin)
    with pytest.raises(UserError, match="which nobody else can load; merge it into a whole model"):
        publish.main(["me/policy"])
    assert list(uploaded.iterdir()) == []
    for name in ("adapter_model.safetensors", "adapter_config.json"):
        Path("models/policy", name).unlink()
    whole = {"model.safetensors", "config.json", "generation_config.json"}
    for name in whole:
        Path("models/policy", name).write_text("{}")
    Path("models/reference/tokenizer.json").write_text("{}")
    publish.main(["me/policy"])
    published = {path.name for path in (uploaded / "me/policy").iterdir()}
    assert published == whole | {"tokenizer.json", "README.md"}
    assert "base_model:" not in (uploaded / "me/policy/README.md").read_text()
