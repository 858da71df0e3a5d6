"""What wandb wrote, read back by its own reader."""

import json
import subprocess
import sys
from functools import reduce
from operator import or_
from pathlib import Path
from types import SimpleNamespace
from typing import Any


def runs(folder: Path) -> list[SimpleNamespace]:
    """The offline runs in a wandb folder, oldest first, a process's part each.

    `curves` has (step, value) of what was logged, by name.
    """
    return [_read(run) for run in sorted(folder.glob("offline-run-*"))]  # named by their start


def _read(run: Path) -> SimpleNamespace:
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(run)]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    records: dict[str, list[dict[str, Any]]] = {}
    for record in map(json.loads, printed.splitlines()):
        records.setdefault(record["type"], []).append(record[record["type"]])
    (started,) = records["run"]
    curves: dict[str, list[tuple[int, float]]] = {}
    for row in records.get("history", []):
        for name, value in row["item"].items():
            curves.setdefault(name, []).append((row["step"]["num"], value))
    config = started["config"]["update"]
    return SimpleNamespace(
        id=started["run_id"],
        name=started.get("display_name"),
        group=started.get("run_group"),
        config={name: value for name, value in config.items() if name != "_wandb"},
        curves=curves,
        summary=reduce(or_, (record["update"] for record in records["summary"])),
        tables=[json.loads(path.read_text()) for path in run.glob("files/media/table/*")],
    )
