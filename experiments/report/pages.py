"""The report as Markdown and as one HTML page; both show the same."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

import jinja2
from tabulate import tabulate

from experiments.report import figures, findings, tables
from experiments.report.evidence import Evidence
from experiments.report.figures import Spec
from experiments.report.tables import Table
from experiments.vega_script import vega_script
from fdpo.core.printable import printable

_SPECIAL = re.compile(r"[\\`*_{}\[\]|~]")
TEMPLATE = Path(__file__).with_name("page.html")


@dataclass(frozen=True)
class Part:
    """What is said of one sweep, in reading order."""

    name: str
    study: str
    verdict: str
    shown: list[str]
    not_shown: list[str]
    figures: dict[str, Spec]
    tables: list[Table]
    command: str


def part(evidence: Evidence) -> Part:
    """Everything about one sweep."""
    name = evidence.sweep.sweep
    level = evidence.primary
    beside = [tables.pairs(level), tables.beside_first(evidence)] if level else []
    compared = list(dict.fromkeys((one.axis, one.score) for one in evidence.levels))
    drawn = {"kl": figures.frontier}
    if level and any(pair.low is not None for pair in level.differences):  # else they are empty
        drawn |= {"differences": figures.differences, "pairs": figures.pairs}
    return Part(
        name=name,
        study=evidence.sweep.study,
        verdict=findings.verdict(evidence),
        shown=findings.shown(evidence),
        not_shown=findings.not_shown(evidence),
        figures={f"{name}-{kind}": draw(evidence) for kind, draw in drawn.items()},
        tables=[
            *beside,
            *([tables.omnibus(evidence)] if any(one.omnibus for one in evidence.levels) else []),
            *(tables.by_level(evidence, axis, score) for axis, score in compared),
            *map(tables.by_seed, evidence.by_kl),
            tables.over_points(evidence),
            tables.best_of(evidence),
            tables.all_rows(evidence),
        ],
        command=f"make sweep SWEEP={name} && make report SWEEP={name}",
    )


def escape(text: str) -> str:
    """`text` as it stands, on one line, in a paragraph, a list or a table of Markdown."""
    line = _SPECIAL.sub(lambda match: "\\" + match[0], printable(" ".join(text.split())))
    return line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def markdown(of: Part) -> str:
    """One sweep's report."""
    lines = [f"# {escape(of.name)}", f"**{escape(of.verdict)}** Study {escape(of.study)}."]
    for title, sentences in (
        ("What the data shows", of.shown),
        ("What it does not show", of.not_shown),
    ):
        lines += [f"{title}:", "\n".join(f"- {escape(sentence)}" for sentence in sentences)]
    lines += [f"![{escape(spec['description'])}]({file}.svg)" for file, spec in of.figures.items()]
    for table in of.tables:
        rows = [list(map(escape, row)) for row in table.rows]
        body = tabulate(rows, list(map(escape, table.columns)), "github", disable_numparse=True)
        lines += [f"## {escape(table.title)}", escape(table.note), body]
    lines += ["To repeat it:", f"    {of.command}"]
    return "\n\n".join(lines) + "\n"


def page(parts: list[Part]) -> str:
    """All sweeps on one page, which needs no network."""
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    specs = {file: spec for one in parts for file, spec in one.figures.items()}
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        parts=parts,
        vega=vega_script(),
        specs=json.dumps(specs).replace("<", "\\u003c"),
    )
