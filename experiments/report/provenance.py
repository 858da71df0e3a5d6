"""How a sweep's numbers were made, and the commands that make them again."""

import json
import shlex
from collections import Counter
from collections.abc import Iterable
from typing import Any

from experiments.sweep.results import RowCounts, RowResults, SweepResults


def facts(sweep: SweepResults) -> list[tuple[str, str]]:
    """Name and value of what a reader needs to judge or repeat the sweep."""
    rows = list(sweep.rows.values())
    sizes = {
        name.replace("_", " "): _by_row(getattr(row.counts, name) for row in rows)
        for name in RowCounts.model_fields
    }
    return [
        ("study", sweep.study),
        *((f"model: {name}", _text(value)) for name, value in sorted(sweep.models.items())),
        *sizes.items(),
        ("seeds", ", ".join(map(str, sorted({row.params.seed for row in rows})))),
        ("overrides", _by_row(row.params.overrides for row in rows)),
        ("commit", _by_row(row.made.commit for row in rows)),
        ("machine", _by_row(row.made.machine for row in rows)),
        ("Python", _by_row(row.made.python for row in rows)),
        ("packages", _by_row(row.made.packages for row in rows)),
        ("time, all rows", f"{sum(row.made.seconds or 0 for row in rows) / 60:.0f} minutes"),
    ]


def _by_row(values: Iterable[Any]) -> str:
    """The one value of all rows, or each with how many rows have it."""
    counted = Counter(map(_text, values))
    if len(counted) == 1:
        return next(iter(counted))
    return "; ".join(f"{text} ({count} rows)" for text, count in counted.most_common())


def _text(value: Any) -> str:
    if value is None:
        return "unknown"
    if isinstance(value, dict):
        return ", ".join(f"{key} {_text(part)}" for key, part in sorted(value.items())) or "none"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def commands(sweep: SweepResults) -> list[str]:
    """Shell lines that repeat the sweep from a clone."""
    commits = {row.made.commit for row in sweep.rows.values()}
    checkout = [f"git checkout {shlex.quote(next(iter(commits)))}"] if len(commits) == 1 else []
    return [*checkout, f"make sweep SWEEP={shlex.quote(sweep.sweep)}", "make report"]


def row_command(sweep: SweepResults, row: RowResults) -> str:
    """The shell line that repeats one row."""
    settings = {"study": sweep.study} | row.params.model_dump()
    return "dvc exp run --temp " + " ".join(
        f"-S {shlex.quote(f'{key}={_text(value)}')}" for key, value in settings.items()
    )
