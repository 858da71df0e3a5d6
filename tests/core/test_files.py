"""Files are whole or absent."""

import os
from pathlib import Path

import pytest

from fdpo.core.errors import UserError
from fdpo.core.files import read_json, read_json_object, replacing, write_json


def write(path: Path, *names: str, error: BaseException | None = None) -> None:
    """Replace a folder by one of files of these names, or a file by one that holds the name."""
    with replacing(path) as scratch:
        if path.suffix:
            scratch.write_text(*names)
        else:
            scratch.mkdir()
            for name in names:
                (scratch / name).write_text(name)
        if error:
            raise error


def names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


def test_a_file_replaces_a_file_and_a_folder_a_folder(tmp_path):
    for text in ("old", "new"):
        write(tmp_path / "made/here/file.txt", text)
        write(tmp_path / "made/here/folder", text, "kept")
    assert (tmp_path / "made/here/file.txt").read_text() == "new"
    assert names(tmp_path / "made/here/folder") == ["kept", "new"]
    assert names(tmp_path / "made/here") == ["file.txt", "folder"]


@pytest.mark.parametrize("error", [ValueError(), KeyboardInterrupt(), UserError()])
def test_after_a_failure_the_old_one_stands_alone(tmp_path, error):
    for path in (tmp_path / "file.txt", tmp_path / "folder"):
        write(path, "old")
        with pytest.raises(type(error)):
            write(path, "half", error=error)
    assert (tmp_path / "file.txt").read_text() == "old"
    assert names(tmp_path / "folder") == ["old"]
    assert names(tmp_path) == ["file.txt", "folder"]


def test_a_link_is_replaced_and_what_it_leads_to_is_kept(tmp_path):
    (tmp_path / "cache").write_text("cached")
    (tmp_path / "file.txt").symlink_to(tmp_path / "cache")
    write(tmp_path / "file.txt", "new")
    assert (tmp_path / "cache").read_text() == "cached"
    assert (tmp_path / "file.txt").read_text() == "new"


def test_json_has_sorted_keys_and_exact_numbers(tmp_path):
    value = {"b": 0.1 + 0.2, "a": [1, None, "ρ"]}
    write_json(tmp_path / "file.json", value)
    text = (tmp_path / "file.json").read_text(encoding="utf-8")
    assert text == (
        '{\n  "a": [\n    1,\n    null,\n    "ρ"\n  ],\n  "b": 0.30000000000000004\n}\n'
    )
    assert read_json(tmp_path / "file.json") == value


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object()])
def test_what_json_cannot_say_is_not_written(tmp_path, value):
    write_json(tmp_path / "file.json", 1)
    with pytest.raises((ValueError, TypeError)):
        write_json(tmp_path / "file.json", {"a": value})
    assert read_json(tmp_path / "file.json") == 1
    assert names(tmp_path) == ["file.json"]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "missing"),
        *((content, r"not JSON \(.*") for content in (b"", b"{", b"\xff", b'{"a": 1} x')),
        *((content, "must be a JSON object") for content in (b"null", b"[]", b"3")),
    ],
)
def test_what_is_no_json_object_is_named(tmp_path, content, problem):
    if content is not None:
        (tmp_path / "file.json").write_bytes(content)
    with pytest.raises(UserError, match=rf"file.json: {problem}.*; run `dvc repro` to rebuild"):
        read_json_object(tmp_path / "file.json")
