"""fdpo.run.dvc_rwlock: a list that a killed DVC left cut short is removed, and no other."""

import pytest
from dvc.lock import make_lock

from fdpo.core.errors import UserError
from fdpo.run.dvc_rwlock import RWLOCK, remove_damaged_rwlock


@pytest.fixture(autouse=True)
def workspace(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    RWLOCK.parent.mkdir(parents=True)


@pytest.mark.parametrize("content", ["", '{"write": {"a": {"pi', "[]", "\x00\x00"])
def test_a_damaged_list_is_removed(content, capsys):
    RWLOCK.write_text(content)
    remove_damaged_rwlock()
    assert not RWLOCK.exists()
    assert "cut short by a killed run of DVC; removed" in capsys.readouterr().out


@pytest.mark.parametrize("content", ["{}", '{"write": {"out": {"pid": 1, "cmd": "dvc repro"}}}'])
def test_a_whole_list_stays(content):
    RWLOCK.write_text(content)
    remove_damaged_rwlock()
    assert RWLOCK.read_text() == content


def test_where_there_is_none_nothing_is_made():
    remove_damaged_rwlock()
    assert list(RWLOCK.parent.iterdir()) == []


def test_while_dvc_writes_it_it_stays():
    RWLOCK.write_text("")
    with (
        make_lock(f"{RWLOCK}.lock", tmp_dir=str(RWLOCK.parent)),
        pytest.raises(UserError, match="another DVC command is at work"),
    ):
        remove_damaged_rwlock()
    assert RWLOCK.exists()
