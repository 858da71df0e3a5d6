"""What wandb wrote, read back by its own reader."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Written:
    """One process's part of a run."""

    id: str
    name: str | None
    group: str | None
    project: str
    config: dict[str, Any]
    curves: dict[str, list[tuple[int, float]]]  # (step, value) of what was logged
    summary: dict[str, Any]
    tables: list[dict[str, Any]]
    exit_code: int


def runs(folder: Path) -> list[Written]:
    """The offline runs in a wandb folder, oldest first."""
    return [read(run) for run in sorted(folder.glob("offline-run-*"))]  # named by their start


def read(run: Path) -> Written:
    records = [json.loads(line) for line in inspect(run, "--json").splitlines()]
    (started,) = (record["run"] for record in records if record["type"] == "run")
    known = json.loads(inspect(run, "--summary", "--json"))
    curves: dict[str, list[tuple[int, float]]] = {}
    for row in (record["history"] for record in records if record["type"] == "history"):
        for name, value in row["item"].items():
            curves.setdefault(name, []).append((row["step"]["num"], value))
    return Written(
        id=started["run_id"],
        name=started.get("display_name"),
        group=started.get("run_group"),
        project=started["project"],
        config=known["config"],
        curves=curves,
        summary=known["summary"],
        tables=[json.loads(path.read_text()) for path in run.glob("files/media/table/*")],
        exit_code=known["exit_code"],
    )


def inspect(run: Path, *options: str) -> str:
    command = [sys.executable, "-m", "wandb", "leet", "inspect", *options, str(run)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
