"""The plots of dvc.yaml in a browser, drawn from results such as the pipeline writes."""

import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fdpo.training.curves import STEP_CURVES
from tests.experiments.browser import opened
from tests.support.clone import IDENTITY
from tests.support.settings import copy_settings

ROOT = Path(__file__).parents[2]
ENVIRONMENT = os.environ | IDENTITY | {"PYTHONPATH": str(ROOT), "DVC_NO_ANALYTICS": "1"}
MARGINS = [0, -1.5, 3000, 0.5]  # fkl's are like that now and then
PLOTS = 7


@pytest.fixture
def workspace(tmp_path) -> Path:
    """A repository with the outputs that plots read; no stage has run."""
    copy_settings(tmp_path)
    (tmp_path / ".dvc").mkdir()
    shutil.copy(ROOT / ".dvc/config", tmp_path / ".dvc")
    shutil.copytree(ROOT / ".dvc/plots", tmp_path / ".dvc/plots")
    for name in STEP_CURVES:
        values = MARGINS if name == "rewards/margins" else [0.5, 0.25, 0.75, 1]
        points = [f"{step}\t{value}\n" for step, value in enumerate(values, start=1)]
        curve = tmp_path / f"results/train/plots/metrics/train/{name}.tsv"
        curve.parent.mkdir(parents=True, exist_ok=True)
        curve.write_text(f"step\t{curve.stem}\n" + "".join(points), encoding="utf-8")
    bins = [{"accuracy": x - 0.1, "confidence": x, "count": 3} for x in (0.55, 0.75)]
    rewards = [{"model": m, "reward": r} for m in ("policy", "reference") for r in (-1.0, 0.5, 2.0)]
    prompts = [{"policy": r, "prompt": "The film", "reference": -r} for r in (-1.0, 0.5, 2.0)]
    (tmp_path / "results/evaluate").mkdir()
    # Baselines are of two kinds with keys of their own, which DVC does not take for points.
    baselines = [{"baseline": "temperature", "temperature": 0.7}, {"baseline": "best_of", "n": 4}]
    for name, content in {
        "evaluate/calibration": bins,
        "evaluate/rewards": rewards,
        "evaluate/prompts": prompts,
        "evaluate/metrics": {"reward": {"value": 0.5, "low": 0.25, "high": 0.75}},
        "evaluate/objective": {"loss": "sigmoid", "beta": 0.1, "alpha": 0.5, "lr": 0.004},
        "baselines": baselines,
    }.items():
        (tmp_path / f"results/{name}.json").write_text(json.dumps(content), encoding="utf-8")
    for command in (["init", "--quiet"], ["add", "--force", "."], ["commit", "--quiet", "-m", "x"]):
        subprocess.run(["git", *command], cwd=tmp_path, env=ENVIRONMENT, check=True)
    return tmp_path


@pytest.mark.browser
@pytest.mark.parametrize(
    "compared", [[], pytest.param(["HEAD", "workspace"], marks=pytest.mark.nightly)]
)
def test_every_plot_draws_on_a_page_that_needs_no_network(workspace, compared):
    command = [sys.executable, "-m", "experiments.plots", *compared]
    done = subprocess.run(command, cwd=workspace, env=ENVIRONMENT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")  # DVC has nothing to warn of
    with opened(workspace / "results/plots/index.html") as found:
        sizes = found.page.evaluate(
            "[...document.querySelectorAll('body > div')].map(place => {"
            " const box = place.querySelector('.marks').getBoundingClientRect();"
            " return [place.id, box.width, box.height]; })"
        )
    assert len(sizes) == PLOTS
    assert all(width > 300 and height > 200 for _, width, height in sizes), sizes
    assert found.errors == []
    assert all(address.startswith("file:") for address in found.requests), found.requests


def test_an_outlier_leaves_room_for_the_other_margins():
    """On the axis those near 0 keep a seventh; a linear one would leave them a thousandth."""
    template = json.loads((ROOT / ".dvc/plots/curve_symlog.json").read_text(encoding="utf-8"))
    scale = template["encoding"]["y"]["scale"]
    assert scale["type"] == "symlog"

    def place(value: float) -> float:
        return math.copysign(math.log1p(abs(value / scale["constant"])), value)

    low, high = min(MARGINS), max(MARGINS)
    assert (place(0.5) - place(-1.5)) / (place(high) - place(low)) > 0.14
    assert (0.5 + 1.5) / (high - low) < 0.001
