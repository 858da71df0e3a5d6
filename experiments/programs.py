"""What other programs say: Git, DVC, the system."""

import platform
import re
import shutil
import subprocess
from pathlib import Path

from fdpo.core.errors import UserError

# The exit code again, advice, and where to write to: no cause of an error.
UNTELLING = ("ERROR: failed to reproduce", "WARNING:", "Having any troubles?", "hint:")


def call(*command: str, cwd: str | Path = ".", check: bool = True) -> str:
    """What a command prints. With `check`, raises `UserError` with its error when it fails."""
    done = subprocess.run(
        command, cwd=cwd, capture_output=True, check=False, encoding="utf-8", errors="replace"
    )
    if done.returncode and check:
        raise UserError(f"`{' '.join(command)}` failed: {last_error(done.stderr)}")
    return done.stdout.strip()


def last_error(printed: str) -> str:
    """The last line of what a command printed that says what went wrong."""
    lines = [line.strip() for line in printed.replace("\r", "\n").splitlines() if line.strip()]
    telling = [line for line in lines if not line.startswith(UNTELLING)]
    return (telling or lines or ["it printed nothing"])[-1]


def processor() -> str:
    """The processor's name, whether it has AVX-512, which changes the last digits, and the GPUs."""
    text = call("cat", "/proc/cpuinfo", check=False)
    found = re.search(r"^model name\s*: (.*)$", text, re.MULTILINE)
    name = (found[1] if found else platform.machine()) + " with AVX-512" * (" avx512f" in text)
    gpus = call("nvidia-smi", "-L").splitlines() if shutil.which("nvidia-smi") else []
    return ", ".join([name, *(gpu.split(" (")[0] for gpu in gpus)])
