"""Write results/report: a page, Markdown and pictures of the sweeps' finished rows."""

import argparse
import json
from pathlib import Path

import vl_convert

from experiments.report import local, tables
from experiments.report.analysis.points import curve_name
from experiments.report.charts.styles import styles
from experiments.report.contents import contents
from experiments.report.markdown import markdown
from experiments.report.page import page
from experiments.sweep.results import SWEEP_RESULTS, read_sweeps
from fdpo.core import errors
from fdpo.core.files import replacing

REPORT = Path("results/report")


def main() -> None:
    """Read the results, write the report's folder whole, and say where it is."""
    sweeps = read_sweeps(arguments().sweeps)
    rows = [row for sweep in sweeps for row in sweep.rows.values()]
    style_by_curve = styles(curve_name(row.params) for row in rows)
    parts = [contents(sweep, style_by_curve) for sweep in sweeps]
    reported = {row.made.experiment for row in rows}
    unreported = tables.local(local.experiments(reported))
    with replacing(REPORT) as folder:
        folder.mkdir()
        (folder / "index.html").write_text(page(parts, unreported), encoding="utf-8")
        (folder / "report.md").write_text(markdown(parts, unreported), encoding="utf-8")
        for picture in (picture for part in parts for picture in part.pictures):
            drawn = vl_convert.vegalite_to_svg(json.dumps(picture.spec))
            (folder / f"{picture.name}.svg").write_text(drawn, encoding="utf-8")
    names = ", ".join(sweep.sweep for sweep in sweeps)
    print(f"report: {len(rows)} rows of {names} in {REPORT / 'index.html'}")


def arguments() -> argparse.Namespace:
    """The sweeps named on the command line."""
    parser = argparse.ArgumentParser(prog="python -m experiments.report", description=__doc__)
    parser.add_argument(
        "sweeps",
        nargs="*",
        metavar="SWEEP",
        help=f"of {SWEEP_RESULTS}; all where none is named",
    )
    return parser.parse_args()


if __name__ == "__main__":
    errors.run(main)
