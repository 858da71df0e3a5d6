"""A sweep's committed results: experiments/results/SWEEP.json, whole after every row."""

from itertools import chain
from pathlib import Path
from statistics import median
from typing import Any

from experiments.sweep.spec import Row, Sweep
from fdpo.core.errors import UserError
from fdpo.core.files import read_json, write_json

RECENT = 5  # rows that an estimate of the time left looks back on
COMPARED = ("metrics", "calibration", "curves", "samples", "counts")


class Results:
    """The rows that are done, by name. A row with other params than the sweep's is not."""

    def __init__(self, path: Path, sweep: Sweep):
        self.path, self.sweep = path, sweep
        whole = read_json(path) if path.exists() else {}
        if not isinstance(whole, dict) or not isinstance(whole.get("rows", {}), dict):
            raise UserError(f"{path}: not a sweep's results; restore it from Git")
        if whole.get("study", sweep.study) != sweep.study:
            raise UserError(
                f"{path}: of the study {whole['study']!r}, the sweep is of {sweep.study!r}; "
                "remove the file or give the sweep another name"
            )
        self.rows: dict[str, Any] = whole.get("rows", {})
        self.seconds: list[float] = []  # of the rows run by this process

    def has(self, row: Row) -> bool:
        return self.rows.get(row.name, {}).get("params") == row.params

    def edited(self, row: Row) -> str:
        """What differs between the row and the results' row of its name; empty without one."""
        if row.name not in self.rows:
            return ""
        old = self.rows[row.name]["params"]
        keys = sorted(old.keys() | row.params.keys())
        changed = [key for key in keys if old.get(key) != row.params.get(key)]
        return ", ".join(f"{key} {old.get(key)} → {row.params.get(key)}" for key in changed)

    def strangers(self) -> list[str]:
        """Names in the results that the sweep has not."""
        return sorted(self.rows.keys() - {row.name for row in self.sweep.rows})

    def add(self, row: Row, record: dict[str, Any], models: dict[str, Any]) -> None:
        self.rows[row.name] = record
        if record["made"]["seconds"] is not None:
            self.seconds.append(record["made"]["seconds"])
        whole = {"sweep": self.sweep.name, "study": self.sweep.study}
        write_json(self.path, whole | {"models": models, "rows": self.rows})

    def estimate(self, left: int) -> str:
        """The time for so many rows at the pace of the last ones; empty where nothing is known."""
        if not left or not self.seconds:
            return ""
        minutes = left * median(self.seconds[-RECENT:]) / 60
        return f", about {minutes:.0f} min" if minutes >= 1 else ", less than a minute"


def differences(before: dict[str, Any], now: dict[str, Any]) -> tuple[list[str], int]:
    """The names of the values that are not exactly equal, and the number of values compared."""
    old, new = (dict(chain(*(_flat(x[key], key) for key in COMPARED))) for x in (before, now))
    names = sorted(old.keys() | new.keys())
    missing = object()
    return [name for name in names if old.get(name, missing) != new.get(name, missing)], len(names)


def _flat(value: Any, name: str) -> list[tuple[str, Any]]:
    if isinstance(value, dict):
        return [pair for key, item in value.items() for pair in _flat(item, f"{name}.{key}")]
    if isinstance(value, list):
        return [pair for i, item in enumerate(value) for pair in _flat(item, f"{name}[{i}]")]
    return [(name, value)]
