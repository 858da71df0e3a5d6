"""While a DVC command runs stages in a workspace, no `dvc exp run` changes params.yaml there.

`dvc exp run -S` writes params.yaml, and sets aside what is not committed, before it notices that
another command is at work. DVC has a lock against that, "workspace" in .dvc/tmp/exps/rwlock, but
holds it only until the experiment is written down. So the first stage that a command runs takes
that lock for it, and a small process keeps it until the command has ended, in whichever way. A
second `dvc exp run` is then refused before it has changed anything.
"""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psutil

EXPERIMENTS = Path(".dvc/tmp/exps")
WORKSPACE = "workspace"  # as DVC calls it
LONGEST_WAIT = 60.0  # seconds, while another `dvc exp run` writes down its experiment
PAUSE = 0.1  # seconds between two looks


def claim_workspace() -> bool:
    """Keep the workspace for the DVC command that runs this stage, until that command has ended.

    Nothing is done where no command of DVC runs it, or in a folder of its own (`--temp`, the
    queue). Where the lock cannot be had, the stage goes on without it.

    Returns: whether this is the first stage that the command runs.
    """
    if "DVC_STAGE" not in os.environ or os.environ.get("RANK", "0") != "0":
        return False
    command = _dvc_command()
    if command is None or not Path(os.environ.get("DVC_ROOT", ".")).samefile("."):
        return False
    process, line = command
    if _is_claimed():
        return False
    ready, says_ready = os.pipe()
    subprocess.Popen(  # noqa: S603 - no shell is wanted
        [sys.executable, "-m", __name__, str(process), line],
        stdin=subprocess.DEVNULL,
        stdout=says_ready,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is for the command, and the keeper ends with that
    )
    os.close(says_ready)
    os.read(ready, 1)  # until it has the lock, or has given up
    os.close(ready)
    return True


def _dvc_command() -> tuple[int, str] | None:
    """The process and the command line of the DVC that runs this stage."""
    import psutil

    for process in psutil.Process().parents():
        try:
            words = process.cmdline()
        except psutil.Error:  # another user's, or gone
            continue
        for place, word in enumerate(words[:3]):  # python -m dvc, python bin/dvc or dvc
            if Path(word).name == "dvc":
                line = " ".join(["dvc", *words[place + 1 :]])
                return process.pid, f"{line} (process {process.pid})"
    return None


def _is_claimed() -> bool:
    """Whether a stage has claimed the workspace already, of this command or of one beside it.

    The claim of a command that has ended does not count, though its keeper may need a moment more.
    """
    import psutil

    try:
        locks = json.loads((EXPERIMENTS / "rwlock").read_text(encoding="utf-8"))
        keeper = locks["write"][WORKSPACE]
        command = re.search(r"\(process (\d+)\)$", keeper["cmd"])
        return (
            command is not None
            and psutil.pid_exists(keeper["pid"])
            and _is_at_work(psutil.Process(int(command[1])))
        )
    except (OSError, ValueError, LookupError, TypeError, psutil.NoSuchProcess):
        return False


def keep(process: int, line: str) -> None:
    """Hold DVC's lock on the workspace while `process` lives, under the name `line`."""
    import psutil
    from dvc.config import Config
    from dvc.fs import localfs
    from dvc.lock import LockError
    from dvc.rwlock import rwlock

    command = psutil.Process(process)
    hardlink = Config.from_cwd()["core"].get("hardlink_lock", False)
    EXPERIMENTS.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + LONGEST_WAIT
    while time.monotonic() < deadline:
        try:
            with rwlock(str(EXPERIMENTS), localfs, line, [], [WORKSPACE], hardlink):
                os.write(1, b".")  # one byte: the stage reads no more, and closes the pipe
                while _is_at_work(command):
                    time.sleep(PAUSE)
            return
        except LockError:
            time.sleep(PAUSE)


def _is_at_work(command: "psutil.Process") -> bool:
    """Whether a process lives; one that has ended stays in the list until its parent looks."""
    import psutil

    try:
        return command.is_running() and command.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


if __name__ == "__main__":
    keep(int(sys.argv[1]), sys.argv[2])
