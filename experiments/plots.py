"""The plots of dvc.yaml as one page that needs no network: results/plots/index.html.

python -m experiments.plots             # the workspace
python -m experiments.plots NAME ...    # experiments, branches or commits, compared
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from experiments.vega_script import vega_script
from fdpo.core import errors
from stages import paths

FOLDER = Path("results/plots")
TEMPLATE = Path(".dvc/plots/page.html")  # of the page that `dvc plots show` writes
SCRIPTS = "{scripts}"  # where DVC puts links to Vega on the web
# What DVC draws, as a regular expression: all but the baselines. They are a plot to DVC so that its
# run cache has them, but they are no curve, and DVC would warn that it finds no points in them.
DRAWN = f"(?!.*{paths.REFERENCE_BASELINES}$)"  # without a backslash, which DVC makes a slash


def main() -> None:
    """Write the page; DVC's exit code is this program's."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("revisions", nargs="*", metavar="NAME", help="what to compare")
    revisions = parser.parse_args().revisions
    with tempfile.TemporaryDirectory() as scratch:
        template = Path(scratch, "page.html")
        page = TEMPLATE.read_text(encoding="utf-8")
        template.write_text(page.replace(SCRIPTS, f"<script>{vega_script()}</script>"), "utf-8")
        options = ["--html-template", str(template), "--out", str(FOLDER)]
        if revisions:
            command = ["diff", "--targets", DRAWN, *options, "--", *revisions]
        else:
            command = ["show", *options, "--", DRAWN]
        done = subprocess.run([sys.executable, "-m", "dvc", "plots", *command])
    sys.exit(done.returncode)


if __name__ == "__main__":
    errors.run(main)
