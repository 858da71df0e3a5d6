"""fdpo.run.locks: one holder at a time, named; a killed process holds nothing."""

import errno
import os
import platform
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from fdpo.core.errors import UserError
from fdpo.run.locks import exclusive_lock
from tests.support import syscalls


def holder(path: Path, before: Callable[[], None] = lambda: None) -> int:
    """A child process that holds the lock until it is killed."""
    ready, told = os.pipe()
    child = os.fork()
    if child == 0:
        before()
        with exclusive_lock(path, "train"):
            os.write(told, b"1")
            signal.pause()
    os.close(told)
    assert os.read(ready, 1) == b"1"
    os.close(ready)
    return child


def end(child: int) -> None:
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def in_a_child(work: Callable[[], None]) -> None:
    """Run `work` in a process of its own; it must not raise."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0


def test_a_second_one_is_refused_with_the_name_of_the_first(tmp_path):
    path = tmp_path / "folder/train.lock"
    child = holder(path)
    for _ in range(2):  # being refused takes nothing away from the holder
        with pytest.raises(UserError) as refused, exclusive_lock(path, "train"):
            pass
        assert str(refused.value) == (
            f"train: process {child} on {platform.node()} is at it already (it holds {path}); wait"
            " until it has ended, or end it with `kill` and its number, then run again to go on"
            " where it stopped"
        )
    end(child)


def test_what_a_killed_process_held_is_taken_over(tmp_path):
    path = tmp_path / "train.lock"
    end(holder(path))
    assert path.exists()
    with exclusive_lock(path, "train"):
        assert path.read_text().startswith(f"{os.getpid()}\n")
    assert not path.exists()


def test_it_is_released_when_the_block_fails(tmp_path):
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), exclusive_lock(tmp_path / "train.lock", "train"):
            _ = 1 / 0
    assert list(tmp_path.iterdir()) == []


def test_another_stage_or_workspace_is_not_held_up(tmp_path):
    child = holder(tmp_path / "train.lock")
    with exclusive_lock(tmp_path / "a.lock", "a"), exclusive_lock(tmp_path / "b/train.lock", "b"):
        pass
    end(child)


def test_processes_that_take_turns_never_hold_it_together(tmp_path):
    """Each releases, and so removes, the file that the others are about to lock."""
    inside = tmp_path / "inside"

    def take_turns() -> None:
        turns = 0
        while turns < 100:
            try:
                with exclusive_lock(tmp_path / "lock", "turn"):
                    inside.mkdir()  # fails where another one is inside
                    inside.rmdir()
                turns += 1
            except UserError:  # the others were faster for half a second
                continue

    children = [os.fork() for _ in range(3)]
    if 0 in children:
        code = 1
        try:
            take_turns()
            code = 0
        finally:
            os._exit(code)
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0, 0]


def test_the_first_of_several_processes_holds_it_for_all(tmp_path, monkeypatch):
    child = holder(tmp_path / "train.lock")
    monkeypatch.setenv("RANK", "1")
    with exclusive_lock(tmp_path / "train.lock", "train"):
        pass
    end(child)


def test_a_symbolic_link_is_refused_and_its_target_kept(tmp_path):
    (tmp_path / "precious").write_text("precious")
    (tmp_path / "train.lock").symlink_to(tmp_path / "precious")
    with (
        pytest.raises(UserError, match="a symbolic link"),
        exclusive_lock(tmp_path / "train.lock", "train"),
    ):
        pass
    assert (tmp_path / "precious").read_text() == "precious"


@pytest.mark.parametrize("error", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_where_the_file_system_has_no_flock_it_holds_as_well(tmp_path, error):
    path = tmp_path / "train.lock"

    def refused() -> None:
        syscalls.refuse("flock", error)
        with pytest.raises(UserError, match=f"process {child} on .* is at it already"):
            exclusive_lock(path, "train").__enter__()

    def taken_over() -> None:
        syscalls.refuse("flock", error)
        with exclusive_lock(path, "train"):
            pass

    child = holder(path, lambda: syscalls.refuse("flock", error))
    in_a_child(refused)
    end(child)
    in_a_child(taken_over)
    assert list(tmp_path.iterdir()) == []


def test_a_lock_that_cannot_be_made_is_named_as_it_was_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("train.lock").mkdir()
    with pytest.raises(OSError, match="directory") as failed:
        exclusive_lock(Path("train.lock"), "train").__enter__()
    assert failed.value.filename == "train.lock"
