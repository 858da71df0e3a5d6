"""Git and DVC as commands: what they print, and what they say when they fail."""

import subprocess
import sys
from pathlib import Path

from fdpo.core.errors import UserError

_UNTELLING = ("ERROR: failed to reproduce", "WARNING:")  # repeats the exit code; no cause


def call(*command: str, cwd: str | Path = ".") -> str:
    """What a command prints. Raises `UserError` with its last words when it fails."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"`{' '.join(command)}` failed: {last_error(done.stderr)}")
    return done.stdout.strip()


def dvc(*arguments: str, cwd: str | Path = ".") -> str:
    """What a command of this environment's DVC prints. Raises `UserError` as `call` does."""
    return call(sys.executable, "-m", "dvc", *arguments, cwd=cwd)


def last_error(stderr: str) -> str:
    """The last line of `stderr` that says what went wrong."""
    lines = [line.strip() for line in stderr.replace("\r", "\n").splitlines() if line.strip()]
    telling = [line for line in lines if not line.startswith(_UNTELLING)]
    return (telling or lines or ["it printed nothing"])[-1]
