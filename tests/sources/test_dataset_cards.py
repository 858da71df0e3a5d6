"""A dataset's card names files; none but the repository's own, at the pinned commit, are read."""

import json
from pathlib import Path
from typing import Any

import yaml

from tests.support.hub_standin import run_client, serving

SECRET = {"prompt": "a private line"}


def attacks(secret: Path) -> dict[str, Any]:
    """What a card may say of its files, by the name of its repository."""
    outside = str(secret)
    url = "http://127.0.0.1:9/never.jsonl"
    return {
        "split": {"data_files": [{"split": "train", "path": outside}]},
        "up": {"data_files": "../" * 12 + outside.lstrip("/")},
        "folder": {"data_dir": str(secret.parent)},
        "url": {"data_files": url},
        "file-url": {"data_files": f"file://{outside}"},
        "zip": {"data_files": f"zip://secret.jsonl::{outside}"},
        "hub": {"data_files": "hf://datasets/me/other/own.jsonl"},
        "home": {"data_files": "~/secret.jsonl"},
    }


def write_repo(folder: Path, config: dict[str, Any] | None) -> None:
    folder.mkdir(parents=True)
    (folder / "own.jsonl").write_text(json.dumps({"prompt": "public"}) + "\n")
    if config is not None:
        card = yaml.safe_dump({"configs": [{"config_name": "default", **config}]})
        (folder / "README.md").write_text(f"---\n{card}---\n")


CODE = """
    from fdpo.config.sources import Prompts
    from fdpo.core.errors import UserError
    from fdpo.sources.prompts import read_texts

    for name in {names!r}:
        try:
            print(read_texts(Prompts(repo="me/" + name, revision="main"))[0])
        except UserError as error:
            print(error)
"""


def test_a_card_reaches_no_file_of_this_machine_and_no_other_address(tmp_path):
    secret = tmp_path / "private" / "secret.jsonl"
    secret.parent.mkdir()
    secret.write_text(json.dumps(SECRET) + "\n")
    cards = attacks(secret)
    hub_folder = tmp_path / "hub"
    for name, config in cards.items():
        write_repo(hub_folder / f"datasets/me/{name}", config)
    write_repo(hub_folder / "datasets/me/overruled", None)
    overruling = yaml.safe_dump({"configs": [{"config_name": "x", "data_files": str(secret)}]})
    (hub_folder / "datasets/me/overruled/.huggingface.yaml").write_text(overruling)
    write_repo(hub_folder / "datasets/me/honest", {"data_files": "own.*"})
    names = [*cards, "overruled", "honest"]
    with serving(hub_folder) as hub:
        client = run_client(hub, tmp_path / "home", CODE.format(names=names))
    assert client.returncode == 0, client.stderr
    *refusals, honest = client.stdout.splitlines()
    assert "private line" not in client.stdout
    assert honest == "['public']"
    for name, refusal in zip([*cards, "overruled"], refusals, strict=True):
        assert refusal.startswith(f"dataset me/{name} at revision main: "), refusal
