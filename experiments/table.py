"""The experiments of this repository as a table that fits the terminal, best reward first.

python -m experiments.table
python -m experiments.table --intervals   # 95 % intervals over prompts behind the numbers
"""

import argparse
import shutil
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from experiments.metrics_io import COMPARED, made_otherwise, parsed_metrics, text_at
from fdpo.core import errors
from fdpo.core.errors import UserError
from fdpo.core.printable import printable
from fdpo.evaluation.metric_registry import HEADLINE_METRICS
from stages import paths

NAME = "experiment"
# What is compared comes first; what the width does not allow is left out from the end.
FIRST_COLUMNS = ("loss", "beta", "reward", "kl", "judge")
LAST_COLUMNS = ("seed", "lr", "alpha")
SHORTEST_NAME = 12  # characters that a name is cut to before a column is left out
FIRST_WIDTH = 80  # columns of a terminal that show all of FIRST_COLUMNS


def columns() -> list[str]:
    """Params and headline metrics, the most wanted first; no metric of the reference alone."""
    metrics = [metric.name for metric in HEADLINE_METRICS if metric.better]
    others = [name for name in metrics if name not in FIRST_COLUMNS]
    return [*FIRST_COLUMNS, *others, *LAST_COLUMNS]


def experiments(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Of the rows of `dvc.api.exp_show` those that have results, best reward first."""
    measured = [row for row in rows if isinstance(row.get("reward"), float)]
    return sorted(measured, key=lambda row: -row["reward"])


def name(row: Mapping[str, Any]) -> str:
    """An experiment's name; the branch or commit of a row that is none."""
    return str(row.get("Experiment") or row["rev"])


def cell(row: Mapping[str, Any], column: str, intervals: Mapping[str, Any]) -> str:
    """A value in four digits, with its interval where `intervals` has one."""
    value = row.get(column)
    if value is None:
        return ""
    text = f"{value:.4g}" if isinstance(value, (int, float)) else printable(str(value))
    if column in intervals:
        text += " [{low:.3g}, {high:.3g}]".format(**intervals[column])
    return text


def table(rows: Sequence[Sequence[str]], header: Sequence[str], width: int) -> str:
    """Lines of at most `width` characters: names are cut first, then columns left out."""
    cells = [list(header), *map(list, rows)]
    longest = max(len(row[0]) for row in cells)
    kept = len(header)
    while kept > 2 and _width(cells, kept, SHORTEST_NAME) > width:
        kept -= 1
    room = width - _width(cells, kept, 0)
    limit = max(min(longest, room), SHORTEST_NAME)
    shown = [[_cut(row[0], limit), *row[1:kept]] for row in cells]
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in shown]
    lines.insert(1, "  ".join("-" * size for size in widths))
    return "\n".join(lines)


def _width(cells: Sequence[Sequence[str]], kept: int, name_width: int) -> int:
    others = [max(map(len, column)) for column in zip(*cells, strict=True)][1:kept]
    return name_width + sum(size + 2 for size in others)


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


def intervals_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """The intervals of an experiment's headline metrics, by their names in the table."""
    try:
        measured = parsed_metrics(text_at(row["rev"], paths.METRICS_WITH_INTERVALS))
    except (OSError, UserError, ValueError) as error:
        raise UserError(
            f"{paths.METRICS_WITH_INTERVALS}: can't be read of {name(row)} ({error}); leave"
            " --intervals out"
        ) from None
    return {
        metric.name: measured[metric.name] for metric in HEADLINE_METRICS if metric.name in measured
    }


def params(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row's params by the names of objective.json, with the rate that `lr: auto` stands for."""

    def of_train(name: str) -> Any:  # DVC puts the file's name first where two studies have it
        return row.get(f"train.{name}", row.get(f"studies/{row['study']}.yaml:train.{name}"))

    found = {name: row.get(name, of_train(name)) for name in COMPARED}
    if found["lr"] == "auto":
        rates = (of_train(f"lr_by_loss.{name}") for name in (found["loss"], "default"))
        found["lr"] = next((rate for rate in rates if rate), None)
    return found


def main() -> None:
    """Print the table."""
    import dvc.api  # not above: it takes a second
    from dvc.exceptions import DvcException
    from dvc.scm import SCMError

    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--intervals", action="store_true", help="95 %% intervals over prompts")
    options = parser.parse_args()
    try:
        found = experiments(dvc.api.exp_show())
    except (DvcException, SCMError) as error:
        said = " ".join(str(error).split())
        raise UserError(
            f"`dvc exp show` failed: {said}; run this in a clone of the repository"
        ) from (None)
    if not found:
        sys.exit("no experiment has results yet; run `dvc repro`, then `dvc exp run -S loss=fkl`")
    # Only columns that some experiment has: a study without a judge has none.
    wanted = [column for column in columns() if any(row.get(column) is not None for row in found)]
    if len({row.get("study") for row in found}) > 1:  # whose rewards are on scales of their own
        wanted.insert(0, "study")
    rows = []
    for row in found:
        if made_with := made_otherwise(params(row), row["rev"]):
            print(f"{name(row)}: left out, its results are of {made_with}", file=sys.stderr)
            continue
        intervals = intervals_of(row) if options.intervals else {}
        rows.append([name(row), *(cell(row, column, intervals) for column in wanted)])
    print(table(rows, [NAME, *wanted], shutil.get_terminal_size((FIRST_WIDTH, 24)).columns))


if __name__ == "__main__":
    errors.run(main)
