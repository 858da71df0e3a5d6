"""Local files are found from copies of the repository, and known by their content."""

import hashlib
import os
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
    (user / "inputs/model").mkdir(parents=True)
    (copy / "inputs/model").mkdir(parents=True)
    (copy / ".dvc/tmp").mkdir(parents=True)
    (user / "inputs/prompts.csv").write_text("prompt\nWhy?\n")
    (user / "inputs/model/config.json").write_text("{}")
    (user / "inputs/model/weights").write_text("old")
    (user / "inputs/model/.cache").write_text("hidden")
    (copy / "inputs/model/weights").write_text("new")
    monkeypatch.chdir(copy)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    return user, copy


@pytest.mark.parametrize("name", ["DVC_ROOT", SWEEP_FOLDER])
def test_what_a_copy_lacks_is_found_in_the_user_s_folder(folders, monkeypatch, name):
    user, _ = folders
    with pytest.raises(UserError, match=r"inputs/prompts.csv: missing or empty; name a file or"):
        sha256_of("inputs/prompts.csv")
    monkeypatch.setenv(name, str(user))
    assert local_file("inputs/prompts.csv") == user / "inputs/prompts.csv"
    printed = subprocess.run(
        ["sha256sum", user / "inputs/prompts.csv"], capture_output=True, text=True, check=True
    ).stdout
    assert sha256_of("inputs/prompts.csv") == printed.split()[0]
    found = local_files.local_files("inputs/model")
    assert {file: path.read_text() for file, path in found.items()} == {
        "config.json": "{}",
        "weights": "new",  # the copy's own goes first
    }
    with pytest.raises(UserError, match="inputs/model: a folder; name a file"):
        local_file("inputs/model")


def test_a_folder_is_known_by_the_names_and_content_of_its_files(folders):
    folder = folders[1] / "inputs/model"
    before = sha256_of("inputs/model")
    listed = f"{hashlib.sha256(b'new').hexdigest()}  weights\n"
    assert before == hashlib.sha256(listed.encode()).hexdigest()
    (folder / "weights").rename(folder / "other")
    assert sha256_of("inputs/model") != before
    (folder / "other").rename(folder / "weights")
    assert sha256_of("inputs/model") == before


@pytest.fixture
def reads(folders, monkeypatch) -> list[Path]:
    """The files that are read, of which all count as large and none as new."""
    read, seen = local_files.sha256, []
    monkeypatch.setattr(local_files, "LARGE", 1)
    monkeypatch.setattr(local_files, "SETTLED", -1)
    monkeypatch.setattr(local_files, "sha256", lambda file: seen.append(file) or read(file))
    return seen


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_a_large_file_is_read_again_only_when_it_has_changed(folders, reads):
    path = folders[1] / "inputs/model/weights"
    for _ in range(2):
        assert sha256_of("inputs/model/weights") == sha256(b"new")
    assert len(reads) == 1

    before = path.stat()
    path.write_text("now")  # as long as before, and as old as it claims to be
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert sha256_of("inputs/model/weights") == sha256(b"now")
    assert len(reads) == 2

    other = path.with_name("other")
    other.write_text("own")
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.rename(path)
    assert sha256_of("inputs/model/weights") == sha256(b"own")
    assert len(reads) == 3


def test_a_file_that_was_just_written_or_changes_meanwhile_is_not_remembered(
    folders, reads, monkeypatch
):
    path = folders[1] / "inputs/model/weights"
    monkeypatch.setattr(local_files, "SETTLED", 10**12)
    for _ in range(2):
        sha256_of("inputs/model/weights")
    assert len(reads) == 2

    monkeypatch.setattr(local_files, "SETTLED", -1)
    read = local_files.sha256

    def changed_meanwhile(file: Path) -> str:
        digest = read(file)
        path.write_text("more than before")
        return digest

    monkeypatch.setattr(local_files, "sha256", changed_meanwhile)
    sha256_of("inputs/model/weights")
    assert not (folders[1] / local_files.MEMORY).exists()
    assert sha256_of("inputs/model/weights") == sha256(b"more than before")


@pytest.mark.parametrize("damaged", ["", "[]", '{"x": 1}', "{"])
def test_a_damaged_memory_is_no_memory(folders, reads, damaged):
    (folders[1] / local_files.MEMORY).write_text(damaged)

    for _ in range(2):
        assert sha256_of("inputs/model/weights") == sha256(b"new")
    assert len(reads) == 1
