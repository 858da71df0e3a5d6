"""Write results/report: Markdown and figures for each sweep, and a page of them all.

python -m experiments.report            # every sweep that has results
python -m experiments.report NAME ...   # these alone; the others' files stay as they are
"""

import argparse
import json
from pathlib import Path

import vl_convert

from experiments.report.evidence import gather
from experiments.report.pages import markdown, page, part
from experiments.sweep.results import load_rows, sweeps_with_results
from fdpo.core import errors
from fdpo.core.errors import UserError
from fdpo.core.files import replacing

REPORT = Path("results/report")


def main() -> None:
    """Read the results, write the files, and say where they are."""
    parser = argparse.ArgumentParser(prog="python -m experiments.report", description=__doc__)
    parser.add_argument("sweeps", nargs="*", metavar="SWEEP", help="all where none is named")
    names = parser.parse_args().sweeps or sweeps_with_results()
    if not names:
        raise UserError("no sweep has results; run `make sweep SWEEP=controlled` first")
    parts = [part(gather(load_rows(name))) for name in names]
    REPORT.mkdir(parents=True, exist_ok=True)
    for one in parts:
        write(REPORT / f"{one.name}.md", markdown(one))
        for name, spec in one.figures.items():
            write(REPORT / f"{name}.svg", vl_convert.vegalite_to_svg(json.dumps(spec)))
    write(REPORT / "index.html", page(parts))
    for one in parts:
        print(f"{one.name}: {one.verdict}")
    print(f"report: {REPORT / 'index.html'}, and {REPORT}/NAME.md")


def write(path: Path, text: str) -> None:
    """Write a file whole."""
    with replacing(path) as scratch:
        scratch.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    errors.run(main)
