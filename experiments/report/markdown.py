"""The report as Markdown, with the pictures as files beside it."""

import re
from collections.abc import Iterable, Sequence

from tabulate import tabulate

from experiments.report.contents import Contents, Picture
from experiments.report.tables import ReportTable
from fdpo.core.printable import printable

# What would start markup wherever it stands; of the rest only what does so where it stands.
_SPECIAL = re.compile(r"[\\`*|~$]|\](?=[(\[:])|(?<!\w)_|_(?!\w)|^[#+>-](?=\s)|^\d+(?=[.)]\s)")


def escape(text: str) -> str:
    """`text` as it stands, on one line, in a paragraph, a list or a table of Markdown."""
    line = printable(" ".join(text.split()))
    line = _SPECIAL.sub(lambda match: "\\" + match[0], line)
    return line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def table(content: ReportTable) -> str:
    """A table with its title; the title alone, said to be empty, when it has no rows."""
    headers = [escape(column) for column in content.columns]
    rows = [[escape(f"{cell.text} {cell.detail}") for cell in row] for row in content.rows]
    body = tabulate(rows, headers, "github", disable_numparse=True) if rows else "None."
    parts = [f"### {escape(content.title)}", escape(content.note), body]
    return "\n\n".join(filter(None, parts))


def markdown(sweeps: Sequence[Contents], local: ReportTable) -> str:
    """The whole report but the samples."""
    parts = ["# What the sweeps show"]
    for sweep in sweeps:
        parts += _sweep(sweep)
    if local.rows:
        parts.append(table(local))
    return "\n\n".join(parts) + "\n"


def _sweep(sweep: Contents) -> list[str]:
    return [
        f"## {escape(sweep.name)}",
        f"**{escape(sweep.findings.verdict)}** Study {escape(sweep.study)}.",
        "What the data shows:",
        _bullets(sweep.findings.shown),
        "What it does not show:",
        _bullets(sweep.findings.not_shown),
        *map(_picture, [sweep.pairs, *sweep.frontiers]),
        *map(table, sweep.comparison),
        *map(_picture, [*sweep.judge, *sweep.training]),
        *map(table, sweep.rows),
        "### How it was made",
        _bullets(f"{name}: {value}" for name, value in sweep.facts),
        "To repeat it:",
        "\n".join(f"    {' '.join(command.split())}" for command in sweep.commands),
    ]


def _bullets(sentences: Iterable[str]) -> str:
    return "\n".join(f"- {escape(sentence)}" for sentence in sentences)


def _picture(picture: Picture) -> str:
    return f"![{escape(picture.description)}]({picture.name}.svg)"
