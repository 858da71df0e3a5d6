"""fdpo.run.dvc_rwlock: a list that a killed DVC left cut short is removed, and no other."""

from pathlib import Path

import pytest
from dvc.lock import make_lock

from fdpo.core.errors import UserError
from fdpo.run.dvc_rwlock import RWLOCKS, remove_damaged_rwlock


@pytest.fixture(params=RWLOCKS, ids=["stages", "experiments"], autouse=True)
def rwlock(tmp_path, monkeypatch, request) -> Path:
    monkeypatch.chdir(tmp_path)
    for path in RWLOCKS:
        path.parent.mkdir(parents=True, exist_ok=True)
    return request.param


@pytest.mark.parametrize("content", ["", '{"write": {"a": {"pi', "[]", "\x00\x00"])
def test_a_damaged_list_is_removed(rwlock, content, capsys):
    rwlock.write_text(content)
    remove_damaged_rwlock()
    assert not rwlock.exists()
    assert "cut short by a killed run of DVC; removed" in capsys.readouterr().out


@pytest.mark.parametrize("content", ["{}", '{"write": {"out": {"pid": 1, "cmd": "dvc repro"}}}'])
def test_a_whole_list_stays(rwlock, content):
    rwlock.write_text(content)
    remove_damaged_rwlock()
    assert rwlock.read_text() == content


def test_where_there_is_none_nothing_is_made(rwlock):
    remove_damaged_rwlock()
    assert not any(path.is_file() for path in Path.cwd().rglob("*"))


def test_while_dvc_writes_it_it_stays(rwlock):
    rwlock.write_text("")
    with (
        make_lock(f"{rwlock}.lock", tmp_dir=str(rwlock.parent)),
        pytest.raises(UserError, match="another DVC command is at work"),
    ):
        remove_damaged_rwlock()
    assert rwlock.exists()
