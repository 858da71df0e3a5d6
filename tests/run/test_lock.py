"""fdpo.run.locks: one holder at a time, named; the kernel lets go of what a killed process held."""

import os
import signal
from pathlib import Path

import pytest

from fdpo.core.errors import UserError
from fdpo.run import locks


def holder(path: Path) -> int:
    """A child process that holds the lock until it is killed."""
    ready, told = os.pipe()
    child = os.fork()
    if child == 0:
        with locks.held(path, "train"):
            os.write(told, b"1")
            signal.pause()
    os.read(ready, 1)
    return child


def end(child: int) -> None:
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def test_a_second_one_is_refused_with_the_name_of_the_first(tmp_path):
    path = tmp_path / "folder/train.lock"
    child = holder(path)
    with pytest.raises(UserError) as refused, locks.held(path, "train"):
        pass
    end(child)
    line = str(refused.value)
    assert line.startswith(f"train: process {child} on ")
    assert f"(it holds {path}); wait until it has ended, or end it with `kill`" in line


def test_what_a_killed_process_held_is_taken_over(tmp_path):
    path = tmp_path / "train.lock"
    end(holder(path))
    assert path.exists()
    with locks.held(path, "train"):
        assert path.read_text().startswith(f"process {os.getpid()} on ")
    assert not path.exists()


def test_it_is_let_go_of_when_the_block_fails(tmp_path):
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), locks.held(tmp_path / "train.lock", "train"):
            _ = 1 / 0
    assert list(tmp_path.iterdir()) == []


def test_another_stage_or_workspace_is_not_held_up(tmp_path):
    child = holder(tmp_path / "train.lock")
    with locks.held(tmp_path / "generate.lock", "generate"), locks.held(tmp_path / "b/c", "train"):
        pass
    end(child)


def test_a_lock_removed_by_its_last_holder_locks_nothing(tmp_path, monkeypatch):
    path = tmp_path / "train.lock"
    flock = locks.fcntl.flock

    def removed_first(descriptor: int, operation: int) -> None:
        monkeypatch.setattr(locks.fcntl, "flock", flock)
        path.unlink()
        flock(descriptor, operation)

    monkeypatch.setattr(locks.fcntl, "flock", removed_first)
    with locks.held(path, "train"), pytest.raises(UserError), locks.held(path, "train"):
        pass


def test_the_first_of_several_processes_holds_it_for_all(tmp_path, monkeypatch):
    child = holder(tmp_path / "train.lock")
    monkeypatch.setenv("RANK", "1")
    with locks.held(tmp_path / "train.lock", "train"):
        pass
    end(child)
