"""The plots of dvc.yaml in a browser."""

import os
import shutil
import subprocess
import sys

import pytest

from tests.experiments.browser import opened
from tests.support import stage_runs
from tests.support.clone import IDENTITY
from tests.support.settings import ROOT

ENVIRONMENT = os.environ | IDENTITY | {"PYTHONPATH": str(ROOT), "DVC_NO_ANALYTICS": "1"}
PLOTS = 7


@pytest.mark.browser
def test_every_plot_draws_on_a_page_that_needs_no_network(tmp_path_factory):
    folder = stage_runs.finished_workspace(tmp_path_factory.mktemp("finished")).folder
    shutil.copytree(ROOT / ".dvc/plots", folder / ".dvc/plots")
    shutil.copy(ROOT / ".dvc/config", folder / ".dvc")
    for command in (["init", "--quiet"], ["add", "--force", "."], ["commit", "--quiet", "-m", "x"]):
        subprocess.run(["git", *command], cwd=folder, env=ENVIRONMENT, check=True)
    command = [sys.executable, "-m", "experiments.plots"]
    done = subprocess.run(command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")  # DVC has nothing to warn of
    with opened(folder / "results/plots/index.html") as found:
        sizes = found.page.evaluate(
            "[...document.querySelectorAll('body > div')].map(place => {"
            " const box = place.querySelector('.marks').getBoundingClientRect();"
            " return [place.id, box.width, box.height]; })"
        )
    assert len(sizes) == PLOTS
    assert all(width > 300 and height > 200 for _, width, height in sizes), sizes
    assert found.errors == []
    assert all(address.startswith("file:") for address in found.requests), found.requests
