"""A stage whose disk fills up, in a mount namespace of its own."""

import ctypes
import os
import shutil
import subprocess
from pathlib import Path

from tests.support.trials import SERVER, Workspace, run_stage

NEW_MOUNTS, NEW_USER = 0x00020000, 0x10000000  # <linux/sched.h>


def runs(workspace: Workspace, stage: str, place: str, *options: str) -> list[tuple[int, str]]:
    """Exit code and output of a stage for each of the tmpfs mount `options`, one after another.

    The tmpfs lies at `place` in the workspace and keeps its files from one run to the next, so a
    later `size` is as if space had been freed. What the last run wrote lies in the workspace.
    """
    own = (workspace, stage, place, options)
    process = SERVER.Process(target=_runs, args=own)
    workspace.clear(stage)
    process.start()
    process.join()
    assert process.exitcode == 0, "no tmpfs could be mounted, neither as root nor as a user"
    logs = [_log(workspace, number) for number in range(len(options))]
    return [(int(log.with_suffix(".code").read_text()), log.read_text()) for log in logs]


def _runs(workspace: Workspace, stage: str, place: str, options: tuple[str, ...]) -> None:
    _own_mounts()
    folder = workspace.folder / place
    folder.mkdir(exist_ok=True)
    for number, option in enumerate(options):
        how = f"remount,{option}" if number else option
        subprocess.run(["mount", "-t", "tmpfs", "-o", how, "tmpfs", folder], check=True)
        log = _log(workspace, number)
        child = os.fork()
        if child == 0:
            run_stage(stage, str(workspace.folder), workspace.environment, str(log), 1)
            os._exit(0)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        log.with_suffix(".code").write_text(str(code))
    kept = workspace.folder.parent / "kept"
    shutil.copytree(folder, kept, dirs_exist_ok=True)  # the tmpfs ends with this process
    subprocess.run(["umount", folder], check=True)
    shutil.copytree(kept, folder, dirs_exist_ok=True)
    shutil.rmtree(kept)


def _log(workspace: Workspace, number: int) -> Path:
    return workspace.folder.parent / f"disk-{number}.log"


def _own_mounts() -> None:
    """Mounts that this process alone sees, as root or, where allowed, as a user."""
    user, group = os.getuid(), os.getgid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(NEW_MOUNTS | (NEW_USER if user else 0)):
        raise OSError(ctypes.get_errno(), "unshare")
    if user:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {user} 1")
        Path("/proc/self/gid_map").write_text(f"0 {group} 1")
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
