"""What the user can correct ends a script in one line, whichever library met it."""

import errno
import os
import resource
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors import SafetensorError

from fdpo.core import errors
from fdpo.core.errors import UserError
from fdpo.core.files import sync, write_json
from tests.support import syscalls
from tests.support.clone import ROOT


def ended(main: Callable[[], None], capsys) -> tuple[int, str]:
    with pytest.raises(SystemExit) as end:
        errors.run(main)
    return end.value.code, capsys.readouterr().err


def fail(error: BaseException, cause: BaseException | None = None) -> Callable[[], None]:
    def main() -> None:
        raise error from cause

    return main


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError(errno.ENOSPC, "No space", "a/b"), "a/b: No space left on device; free some space"),
        (OSError(errno.ESTALE, "Stale", "a/b"), "a/b: Stale file handle; mount the network disk"),
        (OSError(errno.EIO, "I/O", "a/b"), "a/b: Input/output error; check the disk and run again"),
        (OSError(errno.EFBIG, "big", "a/b"), "a/b: File too large; raise the limit on file sizes"),
        (sqlite3.OperationalError("database or disk is full"), "No space left on device; free"),
        (SafetensorError("I/O error: No space left on device (os error 28)"), "No space left on"),
        (FileNotFoundError(2, "No usable temporary directory found in ['/tmp']"), "no folder for"),
    ],
)
def test_a_broken_or_full_disk_is_one_line_whichever_library_met_it(error, line, capsys):
    for main in (fail(error), fail(RuntimeError("a library's own"), error)):
        code, said = ended(main, capsys)
        assert code == 2
        assert said.startswith(f"error: {line}")
        assert said.endswith(" and run again; nothing that was finished is lost\n")
        assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("number", "line"),
    [
        (errno.EISDIR, "Is a directory; a file is needed there: name another, or move it, and"),
        (errno.ENOTDIR, "Not a directory; a folder is needed there: name another, or move it, and"),
        (errno.EEXIST, "File exists; a folder is needed there: name another, or move it, and"),
        (errno.ENAMETOOLONG, "File name too long; choose a shorter name and"),
    ],
)
def test_a_path_that_cannot_be_is_one_line_unless_it_was_caught(number, line, capsys):
    error = OSError(number, "", "a/b")
    code, said = ended(fail(error), capsys)
    assert (code, said.count("\n")) == (2, 1)
    assert said.startswith(f"error: a/b: {line} run again")
    with pytest.raises(ZeroDivisionError):
        errors.run(fail(ZeroDivisionError("no"), error))


def test_other_errors_are_bugs_and_shown_whole():
    with pytest.raises(ZeroDivisionError):
        errors.run(fail(ZeroDivisionError("no")))


def test_control_characters_are_shown_and_not_obeyed(capsys):
    code, said = ended(fail(UserError("a\x1b]0;title\x07: \u202e\r\nb é 電")), capsys)
    assert code == 2
    assert said == "error: a\\x1b]0;title\\x07: \\u202e\\r\\nb é 電\n"


def in_a_child(main: Callable[[], None], log: Path) -> tuple[int, str]:
    child = os.fork()
    if child == 0:
        os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT), 2)
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115 - as long as the child
        try:
            errors.run(main)
        except SystemExit as end:
            sys.stderr.flush()
            os._exit(end.code)
        finally:
            os._exit(99)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), log.read_text()


def test_a_limit_on_file_sizes_is_named(tmp_path):
    def main() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        write_json(tmp_path / "big.json", "x" * 5000)

    code, said = in_a_child(main, tmp_path / "log")
    assert code == 2
    assert "big.json: File too large; raise the limit on file sizes (`ulimit -f`)" in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log"]


def test_a_disk_that_cannot_write_is_named(tmp_path):
    def main() -> None:
        (tmp_path / "folder").mkdir()
        syscalls.refuse("fsync", errno.EIO)
        sync(tmp_path / "folder")

    code, said = in_a_child(main, tmp_path / "log")
    assert (code, said.startswith("error: ")) == (2, True)
    assert "Input/output error; check the disk and run again" in said


SCRIPT = (
    "from fdpo.core import errors; errors.run(lambda: [print('line ' * 99) for _ in range(9999)])"
)


def test_a_reader_that_has_gone_ends_it_quietly():
    command = f'"{sys.executable}" -c "{SCRIPT}" | head -1'
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 141
    assert done.stderr == ""
    assert done.stdout.count("\n") == 1


def test_a_letter_that_the_locale_does_not_have_is_shown_escaped():
    script = "from fdpo.core import errors; errors.run(lambda: print('caf\\xe9 \\udcff'))"
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env={"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "caf\\xe9 \\udcff\n", "")


def test_a_folder_whose_name_the_locale_does_not_have_is_said(tmp_path):
    folder = tmp_path / "Größe"
    folder.mkdir()
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), **ascii_only},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "under this locale; set PYTHONUTF8=1, or a UTF-8 locale" in done.stderr
    assert done.stderr.count("\n") == 1
