"""How a sweep's numbers were made, and the commands that make them again."""

import json
import shlex
from collections import Counter
from collections.abc import Iterable
from typing import Any

from experiments.report.analysis.sweep_results import Counts, Row, Sweep


def facts(sweep: Sweep) -> list[tuple[str, str]]:
    """Name and value of what a reader needs to judge or repeat the sweep."""
    rows = list(sweep.rows.values())
    sizes = {
        name.replace("_", " "): _said(getattr(row.counts, name) for row in rows)
        for name in Counts.model_fields
    }
    return [
        ("study", sweep.study),
        *((f"model: {name}", _text(value)) for name, value in sorted(sweep.models.items())),
        *sizes.items(),
        ("seeds", ", ".join(map(str, sorted({row.params.seed for row in rows})))),
        ("overrides", _said(row.params.overrides for row in rows)),
        ("commit", _said(row.made.commit for row in rows)),
        ("machine", _said(row.made.machine for row in rows)),
        ("Python", _said(row.made.python for row in rows)),
        ("packages", _said(row.made.packages for row in rows)),
        ("time, all rows", f"{sum(row.made.seconds or 0 for row in rows) / 60:.0f} minutes"),
    ]


def _said(values: Iterable[Any]) -> str:
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


def commands(sweep: Sweep) -> list[str]:
    """Shell lines that repeat the sweep from a clone."""
    commits = {row.made.commit for row in sweep.rows.values()}
    checkout = [f"git checkout {shlex.quote(next(iter(commits)))}"] if len(commits) == 1 else []
    return [*checkout, f"make sweep SWEEP={shlex.quote(sweep.sweep)}", "make report"]


def row_command(sweep: Sweep, row: Row) -> str:
    """The shell line that repeats one row."""
    settings = {"study": sweep.study} | row.params.model_dump()
    return "dvc exp run --temp " + " ".join(
        f"-S {shlex.quote(f'{key}={_text(value)}')}" for key, value in settings.items()
    )
