"""Processes measured by the operating system, and the rows of results/bench.json."""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.programs import processor
from fdpo.core.errors import UserError

ROOT = Path(__file__).parent.parent

Row = dict[str, Any]


@dataclass(frozen=True)
class Run:
    """What one process, and those it waited for, cost.

    `peak_mib` is the largest resident set of any one of them. Linux counts the parent's memory at
    the time of the fork too, so what starts runs imports nothing large.
    """

    cpu: float  # seconds, user and system, all threads
    wall: float  # seconds
    peak_mib: float
    output: str

    @property
    def report(self) -> dict[str, Any]:
        """The JSON object in the last line that the process printed."""
        return json.loads(self.output.splitlines()[-1])


def run(command: Sequence[str | Path], cwd: Path = ROOT, **environment: str) -> Run:
    """Run a command to its end. Raises `UserError` with its last line when it fails."""
    command = [str(part) for part in command]
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as messages:
        start = time.perf_counter()
        process = subprocess.Popen(  # noqa: S603
            command, cwd=cwd, env={**os.environ, **environment}, stdout=output, stderr=messages
        )
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        messages.seek(0)
        if process.returncode:
            said = messages.read().decode(errors="replace").strip().splitlines() or ["no message"]
            raise UserError(f"`{' '.join(command)}` ended with {process.returncode}: {said[-1]}")
        return Run(
            cpu=usage.ru_utime + usage.ru_stime,
            wall=wall,
            peak_mib=usage.ru_maxrss / 1024,  # Linux counts KiB
            output=output.read().decode(errors="replace"),
        )


def module(name: str, *arguments: object) -> Run:
    """Run `python -m name`."""
    return run([sys.executable, "-m", name, *map(str, arguments)])


def alternate(rounds: int, sides: dict[str, Callable[[], Run]]) -> dict[str, list[Run]]:
    """Run each side in turn (A B A B …), `rounds` times."""
    runs: dict[str, list[Run]] = {name: [] for name in sides}
    for number in range(1, rounds + 1):
        for name, side in sides.items():
            one = side()
            runs[name].append(one)
            note(
                f"round {number}, {name}: {one.cpu:.1f} CPU s, {one.wall:.1f} s,"
                f" {one.peak_mib:.0f} MiB"
            )
    return runs


def note(message: str) -> None:
    """Say how far a benchmark is, on stderr."""
    print(f"  {message}", file=sys.stderr, flush=True)


def compared(
    name: str, unit: str, fdpo: Sequence[float], other: Sequence[float], rate: bool = False
) -> Row:
    """A row of two sides: medians, and the other's cost over this project's, of each round.

    With `rate` larger values are better, so the ratio is the other way round: above 1 always says
    that this project's side is cheaper.
    """
    ratios = [a / b if rate else b / a for a, b in zip(fdpo, other, strict=True)]
    return {
        "name": name,
        "unit": unit,
        "fdpo": statistics.median(fdpo),
        "other": statistics.median(other),
        "ratio": statistics.median(ratios),
        "rounds": ratios,
    }


def alone(name: str, unit: str, values: Sequence[float]) -> Row:
    """A row with nothing to compare; `rounds` holds a value per round."""
    return {"name": name, "unit": unit, "fdpo": statistics.median(values), "rounds": list(values)}


def shown(row: Row) -> str:
    """A row as one line."""
    low, high, count = min(row["rounds"]), max(row["rounds"]), len(row["rounds"])
    if "ratio" not in row:
        return f"{row['name']}: {row['fdpo']:.4g} {row['unit']} ({low:.4g} to {high:.4g})"
    return (
        f"{row['name']}: ratio {row['ratio']:.2f} ({low:.2f} to {high:.2f}, {count} rounds),"
        f" {row['fdpo']:.4g} beside {row['other']:.4g} {row['unit']}"
    )


def machine() -> str:
    """The processor, its threads, and the memory."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{processor()}, {os.cpu_count()} threads, {memory:.0f} GiB"
