"""Git and DVC as commands: what they print, and what they say when they fail."""

import os
import subprocess
import sys
from pathlib import Path

from fdpo.core.errors import UserError

# The exit code again, advice, and where to write to: no cause of an error.
_UNTELLING = ("ERROR: failed to reproduce", "WARNING:", "Having any troubles?", "hint:")
_CAUSES = ("error:", "fatal:", "ERROR:")


def call(*command: str, cwd: str | Path = ".") -> str:
    """What a command prints. Raises `UserError` with its error when it fails."""
    done = subprocess.run(
        command,
        cwd=cwd,
        capture_output=True,
        check=False,
        encoding="utf-8",  # whatever the locale's is
        errors="surrogateescape",
    )
    if done.returncode:
        lines = _telling(done.stderr)
        # Git goes on with advice, in which the file that it could not write is not named again.
        cause = next((line for line in lines if line.startswith(_CAUSES)), lines[-1])
        raise UserError(f"`{' '.join(command)}` failed: {cause}")
    return done.stdout.strip()


def dvc(*arguments: str, cwd: str | Path = ".") -> str:
    """What a command of this environment's DVC prints. Raises `UserError` as `call` does."""
    return call(sys.executable, "-m", "dvc", *arguments, cwd=cwd)


def last_error(stderr: str) -> str:
    """The last line of a run's stderr that says what went wrong."""
    return _telling(stderr)[-1]


def _telling(stderr: str) -> list[str]:
    lines = [line.strip() for line in stderr.replace("\r", "\n").splitlines() if line.strip()]
    telling = [line for line in lines if not line.startswith(_UNTELLING)]
    return telling or lines or ["it printed nothing"]


def forget_hook_variables() -> None:
    """Drop what Git sets for its hooks, which would lead Git and DVC to another repository.

    Configuration given in the environment stays.
    """
    for name in call("git", "rev-parse", "--local-env-vars").split():
        if not name.startswith("GIT_CONFIG"):
            os.environ.pop(name, None)
