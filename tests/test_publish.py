"""fdpo.publish and experiments.publish against the stand-in."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from fdpo import records
from fdpo.models import load_tokenizer
from tests import hub_repos
from tests.hub_standin import TOKEN, Hub, run_client, serving

STALE = "hf_stale_secret"
PUBLISH = """
import os
from experiments.publish import main
from fdpo import errors
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
    (policy / "README.md").write_text("---\nlicense: mit\n---\n# A policy\n")
    (policy / "adapter_config.json").write_text("{}")
    (policy / "adapter_model.safetensors").write_bytes(b"weights")
    return tmp_path / "project"


def publish(hub: Hub, project: Path, *arguments: str, **environment: str):
    code = PUBLISH.format(project=str(project), arguments=list(arguments))
    return run_client(hub, project.parent / "home", code, **environment)


def test_the_policy_is_uploaded_with_its_card(hub, project):
    client = publish(hub, project, "me/policy", HF_TOKEN=TOKEN)
    assert client.returncode == 0, client.stderr
    assert client.stdout.strip() == f"{hub.url}/me/policy"
    published = hub.folder / "models/me/policy"
    for path in (project / "models/policy").iterdir():
        assert (published / path.name).read_bytes() == path.read_bytes()
    assert len(list(published.iterdir())) == 3

    (project / "models/policy/README.md").write_text("# A better policy\n")
    again = publish(hub, project, "me/policy", HF_TOKEN=TOKEN)
    assert again.returncode == 0, again.stderr
    assert (published / "README.md").read_text() == "# A better policy\n"


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
        from fdpo.given_pairs import read_pairs
        print(read_pairs("me/policy-pairs", "main")[0])
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


def test_a_policy_without_a_card_is_not_published(hub, project):
    (project / "models/policy/README.md").unlink()
    client = publish(hub, project, "me/policy", HF_TOKEN=TOKEN)
    assert client.returncode == 2
    assert "models/policy/README.md: missing; run `dvc repro` to train the policy" in client.stderr
    assert hub.requests == []
