"""What a run was made on, and how many rows such a machine runs at once."""

import os
import platform
import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path

import psutil

PACKAGES = ("torch", "transformers", "trl", "peft", "dvc")
ROW_MEMORY = 2.5 * 2**30  # bytes; a row of the embedded study takes 1.9 GiB
CGROUP = Path("/sys/fs/cgroup")  # a container's own limit, which the machine's memory exceeds


def packages() -> dict[str, str]:
    """Versions of the packages that numbers depend on."""
    return {name: version(name) for name in PACKAGES}


def description(threads: int | None) -> str:
    """Processor, cores and threads, and the GPU where there is one, in one line."""
    used = f"{cores()} cores, {threads or cores()} threads a process"
    return ", ".join([_processor(), used, *_gpus()])


def cores() -> int:
    """Processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def default_jobs() -> int:
    """Rows to run at once: one per core as far as memory reaches; with a GPU, one."""
    return 1 if _gpus() else max(1, min(cores(), int(_free_memory() // ROW_MEMORY)))


def threads_per_row(jobs: int) -> int | None:
    """OMP_NUM_THREADS of a row: as given in the environment, else its share of the cores.

    None where a row has the whole machine: PyTorch then decides, as in `dvc exp run`.
    """
    given = os.environ.get("OMP_NUM_THREADS", "")
    if given.isdecimal() and int(given) > 0:
        return int(given)
    return None if jobs == 1 else max(1, cores() // jobs)


def _free_memory() -> int:
    """Bytes that are free on the machine and within the container's limit."""
    free = psutil.virtual_memory().available
    try:
        limit = int((CGROUP / "memory.max").read_text())
        return min(free, limit - int((CGROUP / "memory.current").read_text()))
    except (OSError, ValueError):  # no such limit
        return free


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _gpus() -> list[str]:
    if not shutil.which("nvidia-smi"):
        return []
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()
