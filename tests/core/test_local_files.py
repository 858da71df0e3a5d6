"""Local files are found from copies of the repository, and known by their content."""

import hashlib
import subprocess
from pathlib import Path

import pytest

from fdpo.core import local_files
from fdpo.core.errors import UserError
from fdpo.core.local_files import SWEEP_FOLDER, local_file, sha256_of


@pytest.fixture
def folders(tmp_path, monkeypatch) -> tuple[Path, Path]:
    """The user's folder, with data of their own, and a copy of the repository to work in."""
    user, copy = tmp_path / "user", tmp_path / "copy"
    (user / "user_data/model").mkdir(parents=True)
    (copy / "user_data/model").mkdir(parents=True)
    (user / "user_data/prompts.csv").write_text("prompt\nWhy?\n")
    (user / "user_data/model/config.json").write_text("{}")
    (user / "user_data/model/weights").write_text("old")
    (user / "user_data/model/.cache").write_text("hidden")
    (copy / "user_data/model/weights").write_text("new")
    monkeypatch.chdir(copy)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    return user, copy


@pytest.mark.parametrize("name", ["DVC_ROOT", SWEEP_FOLDER])
def test_what_a_copy_lacks_is_found_in_the_user_s_folder(folders, monkeypatch, name):
    user, _ = folders
    with pytest.raises(UserError, match=r"user_data/prompts.csv: missing or empty"):
        sha256_of("user_data/prompts.csv")
    monkeypatch.setenv(name, str(user))
    assert local_file("user_data/prompts.csv") == user / "user_data/prompts.csv"
    printed = subprocess.run(
        ["sha256sum", user / "user_data/prompts.csv"], capture_output=True, text=True, check=True
    ).stdout
    assert sha256_of("user_data/prompts.csv") == printed.split()[0]
    found = local_files.local_files("user_data/model")
    assert {file: path.read_text() for file, path in found.items()} == {
        "config.json": "{}",
        "weights": "new",  # the copy's own goes first
    }
    with pytest.raises(UserError, match="user_data/model: a folder; name a file"):
        local_file("user_data/model")


def test_a_folder_is_known_by_the_names_and_content_of_its_files(folders):
    folder = folders[1] / "user_data/model"
    before = sha256_of("user_data/model")
    listed = f"{hashlib.sha256(b'new').hexdigest()}  weights\n"
    assert before == hashlib.sha256(listed.encode()).hexdigest()
    (folder / "weights").rename(folder / "other")
    assert sha256_of("user_data/model") != before
    (folder / "other").rename(folder / "weights")
    assert sha256_of("user_data/model") == before
