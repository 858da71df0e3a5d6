"""fdpo.sources.hub against the stand-in: real clients, nothing patched."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

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
