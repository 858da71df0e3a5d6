"""Files are whole or absent."""

import os
from pathlib import Path

import pytest

from fdpo.core.errors import UserError
from fdpo.core.files import read_json, read_json_object, replacing, write_json


def write(path: Path, text: str) -> None:
    with replacing(path) as scratch:
        scratch.write_text(text)


def fill(path: Path, *names: str) -> None:
    with replacing(path) as scratch:
        scratch.mkdir()
        for name in names:
            (scratch / name).write_text(name)


def fail(path: Path, error: type[BaseException], folder: bool) -> None:
    with replacing(path) as scratch:
        if folder:
            scratch.mkdir()
        (scratch / "half" if folder else scratch).write_text("half")
        raise error("no")


def names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


def test_a_file_and_its_folder_are_made(tmp_path):
    write(tmp_path / "a/b/file", "new")
    assert (tmp_path / "a/b/file").read_text() == "new"
    assert names(tmp_path / "a/b") == ["file"]


def test_a_file_replaces_a_file_and_a_folder_a_folder(tmp_path):
    for text in ("old", "new"):
        write(tmp_path / "file", text)
    fill(tmp_path / "folder", "stale", "kept")
    fill(tmp_path / "folder", "kept")
    assert (tmp_path / "file").read_text() == "new"
    assert names(tmp_path / "folder") == ["kept"]
    assert names(tmp_path) == ["file", "folder"]


def test_until_it_is_whole_the_old_one_stands(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    with replacing(path) as scratch:
        scratch.write_text("half")
        assert path.read_text() == "old"
    assert path.read_text() == "half"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, UserError])
def test_after_a_failure_the_old_one_stands_alone(tmp_path, error):
    (tmp_path / "file").write_text("old")
    fill(tmp_path / "folder", "old")
    for name in ("file", "folder"):
        with pytest.raises(error):
            fail(tmp_path / name, error, folder=name == "folder")
    assert (tmp_path / "file").read_text() == "old"
    assert names(tmp_path / "folder") == ["old"]
    assert names(tmp_path) == ["file", "folder"]


def test_what_a_killed_process_left_is_cleared_away(tmp_path):
    with replacing(tmp_path / "model") as scratch:
        left = scratch
        scratch.mkdir()
    left.mkdir()
    (left / "stale").write_text("stale")
    fill(tmp_path / "model", "new")
    assert names(tmp_path / "model") == ["new"]
    assert names(tmp_path) == ["model"]


def test_a_link_is_replaced_and_what_it_leads_to_is_kept(tmp_path):
    (tmp_path / "cache").write_text("cached")
    (tmp_path / "file").symlink_to(tmp_path / "cache")
    write(tmp_path / "file", "new")
    assert (tmp_path / "cache").read_text() == "cached"
    assert (tmp_path / "file").read_text() == "new"


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


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b'{"a": 1} x'])
def test_what_is_not_json_is_named(tmp_path, content):
    (tmp_path / "file.json").write_bytes(content)
    with pytest.raises(UserError, match=r"file.json: not JSON \(.*run `dvc repro` to rebuild"):
        read_json(tmp_path / "file.json")


@pytest.mark.parametrize("value", [None, [], 3])
def test_what_is_no_object_is_named(tmp_path, value):
    write_json(tmp_path / "file.json", value)
    with pytest.raises(UserError, match=r"file.json: must be a JSON object; run `dvc repro`"):
        read_json_object(tmp_path / "file.json")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"file.json: missing; run `dvc repro`"):
        read_json(tmp_path / "file.json")
