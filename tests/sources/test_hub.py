"""fdpo.sources.hub against the stand-in: real clients, nothing patched."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from huggingface_hub.constants import DOWNLOAD_CHUNK_SIZE
from transformers import GPT2LMHeadModel

from tests.support import hub_repos
from tests.support.hub_standin import Hub, run_client, serving

FETCH = """
import sys
from fdpo.sources import hub
from fdpo.core.errors import UserError
for repo in {repos!r}:
    try:
        print(hub.fetch_model(repo, {revision!r}, "{out}/" + repo))
    except UserError as error:
        print(error)
"""


@pytest.fixture(scope="module")
def hub(tmp_path_factory) -> Iterator[Hub]:
    folder = tmp_path_factory.mktemp("hub")
    hub_repos.gpt2(folder / "models/lvwerra/gpt2-imdb")
    hub_repos.prompts(folder / "datasets/therem/dpo_dataset_eval")
    with serving(folder) as hub:
        yield hub


def copy_of_gpt2(hub: Hub, name: str) -> Path:
    target = hub.folder / "models" / name
    return Path(shutil.copytree(hub.folder / "models/lvwerra/gpt2-imdb", target))


def fetch(hub: Hub, tmp_path: Path, *repos: str, revision: str = "main", **env: str) -> list[str]:
    """One line a repo: its Source, or the error that the user would see."""
    code = FETCH.format(repos=repos, revision=revision, out=tmp_path / "out")
    client = run_client(hub, tmp_path / "home", code, **env)
    assert client.returncode == 0, client.stderr
    lines = client.stdout.splitlines()
    assert len(lines) == len(repos)
    return lines


def contents(folder: Path) -> dict[str, bytes]:
    assert not any(path.is_symlink() for path in folder.iterdir())
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_model_folder_is_the_repository_at_one_commit(hub, tmp_path):
    code = f"""
        import sys
        from fdpo.sources import hub
        by_name = hub.fetch_model("lvwerra/gpt2-imdb", "main", "{tmp_path}/by_name")
        print(by_name["commit"], by_name["weights"])
        commit = by_name["commit"]
        print(hub.fetch_model("lvwerra/gpt2-imdb", commit, "{tmp_path}/by_commit")["commit"])
        print("torch" in sys.modules)
    """
    client = run_client(hub, tmp_path / "home", code)
    assert client.returncode == 0, client.stderr
    commit, weights, same, torch_loaded = client.stdout.split()
    assert (weights, same, torch_loaded) == ("safetensors", commit, "False")

    by_name = contents(tmp_path / "by_name")
    assert json.loads(by_name.pop("source.json")) == {
        "repo": "lvwerra/gpt2-imdb",
        "revision": "main",
        "commit": commit,
        "weights": "safetensors",
    }
    by_commit = contents(tmp_path / "by_commit")
    assert json.loads(by_commit.pop("source.json"))["revision"] == commit
    assert by_name == by_commit == contents(hub.folder / "models/lvwerra/gpt2-imdb")


def test_code_and_other_formats_stay_on_the_hub(hub, tmp_path):
    repo = copy_of_gpt2(hub, "me/crowded")
    for name in ("modeling.py", "tf_model.h5", "pytorch_model.bin", "README.md"):
        (repo / name).write_text("never asked for")
    fetch(hub, tmp_path, "me/crowded")
    fetched = set(contents(tmp_path / "out/me/crowded"))
    assert fetched == {"source.json", *contents(hub.folder / "models/lvwerra/gpt2-imdb")}


def test_what_cannot_be_had_ends_in_one_line(hub, tmp_path):
    faults = {"gated": {"gated": True}, "down": {"status": 500}, "private": {"status": 401}}
    for name, fault in faults.items():
        copy_of_gpt2(hub, f"me/{name}")
        hub.faults[f"models/me/{name}"] = fault
    (copy_of_gpt2(hub, "me/weightless") / "model.safetensors").unlink()
    repos = ["me/gated", "me/down", "me/private", "me/missing", "me/weightless", "a/b/c"]
    for repo, line in zip(repos, fetch(hub, tmp_path, *repos), strict=True):
        assert line.startswith(f"model {repo} at revision main: ")
        assert not (tmp_path / "out" / repo).exists()


def test_an_unknown_revision_and_a_hub_out_of_reach_are_named(hub, tmp_path):
    (line,) = fetch(hub, tmp_path, "lvwerra/gpt2-imdb", revision="v9")
    assert line.startswith("model lvwerra/gpt2-imdb at revision v9: ")
    assert "RevisionNotFound" in line
    (line,) = fetch(hub, tmp_path, "lvwerra/gpt2-imdb", HF_ENDPOINT="http://127.0.0.1:9")
    assert line.startswith("model lvwerra/gpt2-imdb at revision main: ConnectError")


def test_a_file_with_the_wrong_hash_is_refused_and_fetched_anew(hub, tmp_path):
    repo = copy_of_gpt2(hub, "me/corrupt")
    hub.faults["models/me/corrupt"] = {"corrupt": True}
    (line,) = fetch(hub, tmp_path, "me/corrupt")
    assert line.startswith("model me/corrupt at revision main: model.safetensors has sha256 ")
    assert not (tmp_path / "out/me/corrupt").exists()

    del hub.faults["models/me/corrupt"]
    fetch(hub, tmp_path, "me/corrupt")  # the same cache: what was wrong there is gone
    fetched = contents(tmp_path / "out/me/corrupt")
    assert fetched["model.safetensors"] == (repo / "model.safetensors").read_bytes()


def test_a_connection_lost_in_mid_file_is_taken_up_where_it_broke(hub, tmp_path):
    repo = copy_of_gpt2(hub, "me/dropping")
    # The client keeps what it has chunk by chunk: this breaks off within the second.
    (repo / "model.safetensors").write_bytes(bytes(range(9)) * (DOWNLOAD_CHUNK_SIZE // 4))
    hub.faults["models/me/dropping"] = {"drop": 1}
    fetch(hub, tmp_path, "me/dropping")
    fetched = contents(tmp_path / "out/me/dropping")
    assert fetched["model.safetensors"] == (repo / "model.safetensors").read_bytes()
    large = "/large/models/me/dropping/model.safetensors"
    ranges = [part for _, path, part in hub.requests if path == large]
    assert ranges == ["", f"bytes={DOWNLOAD_CHUNK_SIZE}-"]


def test_shards_are_fetched_and_the_template_comes_along(hub, tmp_path):
    """How they become one file is tested with local folders, in test_reference.py."""
    repo = copy_of_gpt2(hub, "me/sharded")
    original = GPT2LMHeadModel.from_pretrained(repo)
    (repo / "model.safetensors").unlink()
    original.save_pretrained(repo, max_shard_size="10KB")
    (repo / "chat_template.jinja").write_text("{{ messages }}")
    (line,) = fetch(hub, tmp_path, "me/sharded")
    assert "'weights': 'safetensors'" in line
    folder = tmp_path / "out/me/sharded"
    assert (folder / "chat_template.jinja").read_text() == "{{ messages }}"
    joined = GPT2LMHeadModel.from_pretrained(folder, use_safetensors=True)
    torch.testing.assert_close(joined.state_dict(), original.state_dict(), rtol=0, atol=0)


def test_an_adapter_comes_with_its_config(hub, tmp_path):
    repo = hub.folder / "models/therem/gpt_imdb_jsd_beta1e-1"
    repo.mkdir(parents=True)
    for name in ("adapter_config.json", "adapter_model.safetensors", "training_args.bin"):
        (repo / name).write_text(f"the content of {name}")
    code = f"""
        from fdpo.sources import hub
        from fdpo.sources.model_files import ADAPTER
        hub.fetch_model("therem/gpt_imdb_jsd_beta1e-1", "main", "{tmp_path}/adapter", ADAPTER)
    """
    client = run_client(hub, tmp_path / "home", code)
    assert client.returncode == 0, client.stderr
    adapter = contents(tmp_path / "adapter")
    assert set(adapter) == {"adapter_config.json", "adapter_model.safetensors", "source.json"}
    assert adapter["adapter_model.safetensors"] == b"the content of adapter_model.safetensors"
