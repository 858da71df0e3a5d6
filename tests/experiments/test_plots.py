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
from tests.support.browser import opened
from tests.support.clone import IDENTITY

ROOT = Path(__file__).parents[2]
MARGINS = [0, -1.5, 3000, 0.5]  # fkl's are like that now and then
SENTENCES = (
    "The loss per pair falls where training works (logarithmic beyond ±1)",
    "The chosen completion gains on the rejected one (logarithmic beyond ±1)",
    "The policy comes to prefer what the reward preferred",
    "The chosen completions may lose probability too (logarithmic beyond ±100 nats)",
    "On the dashed line the policy's odds come true",
    "Training moves the samples' rewards to the right where it works",
    "Above the dashed line the policy got more reward than the reference",
)


@pytest.fixture
def workspace(tmp_path) -> Path:
    """A repository with the outputs that plots read; no stage has run."""
    for name in ("dvc.yaml", "params.yaml", ".dvc/config"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    shutil.copytree(ROOT / ".dvc/plots", tmp_path / ".dvc/plots")
    shutil.copytree(ROOT / "studies", tmp_path / "studies")
    for name in STEP_CURVES:
        values = MARGINS if name == "rewards/margins" else [0.5, 0.25, 0.75, 1]
        write_curve(tmp_path / f"results/train/plots/metrics/train/{name}.tsv", values)
    evaluated = tmp_path / "results/evaluate"
    evaluated.mkdir()
    bins = [{"accuracy": x - 0.1, "confidence": x, "count": 3} for x in (0.55, 0.75)]
    rewards = [{"model": m, "reward": r} for m in ("policy", "reference") for r in (-1.0, 0.5, 2.0)]
    prompts = [{"policy": r, "prompt": "The film", "reference": -r} for r in (-1.0, 0.5, 2.0)]
    for name, content in (
        ("calibration", bins),
        ("rewards", rewards),
        ("prompts", prompts),
        ("metrics", {"reward": {"value": 0.5, "low": 0.25, "high": 0.75}}),
    ):
        (evaluated / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    baselines = [{"baseline": "temperature", "temperature": 0.7}, {"baseline": "best_of", "n": 4}]
    (tmp_path / "results/baselines.json").write_text(json.dumps(baselines), encoding="utf-8")
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, env=os.environ | IDENTITY, check=True)
    return tmp_path


def write_curve(path: Path, values: list[float]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [f"{step}\t{value}\n" for step, value in enumerate(values, start=1)]
    path.write_text(f"step\t{path.stem}\n" + "".join(rows), encoding="utf-8")


def plots(workspace: Path, *names: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | IDENTITY | {"PYTHONPATH": str(ROOT), "DVC_NO_ANALYTICS": "1"}
    command = [sys.executable, "-m", "experiments.plots", *names]
    return subprocess.run(command, cwd=workspace, env=environment, capture_output=True, text=True)


@pytest.mark.browser
def test_every_plot_draws_on_a_page_that_needs_no_network(workspace):
    done = plots(workspace)
    assert done.returncode == 0, done.stderr
    with opened(workspace / "results/plots/index.html") as found:
        sizes = found.page.evaluate(
            "[...document.querySelectorAll('body > div')].map(place => {"
            " const box = place.querySelector('.marks').getBoundingClientRect();"
            " return [place.id, box.width, box.height]; })"
        )
        text = found.page.content()
    assert len(sizes) == len(SENTENCES)
    assert all(width > 300 and height > 200 for _, width, height in sizes), sizes
    assert [sentence for sentence in SENTENCES if sentence not in text] == []
    assert found.errors == []
    assert all(address.startswith("file:") for address in found.requests), found.requests


def test_dvc_has_nothing_to_warn_of(workspace):
    """Baselines are of two kinds with keys of their own, which DVC does not take for points."""
    for command in (["add", "--force", "."], ["commit", "--quiet", "-m", "First"]):
        subprocess.run(["git", *command], cwd=workspace, env=os.environ | IDENTITY, check=True)
    for names in ([], ["HEAD", "workspace"]):
        done = plots(workspace, *names)
        assert (done.returncode, done.stderr) == (0, "")
        page = (workspace / "results/plots/index.html").read_text(encoding="utf-8")
        assert [sentence for sentence in SENTENCES if json.dumps(sentence)[1:-1] not in page] == []


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


@pytest.mark.parametrize("name", ["reliability", "scatter_with_diagonal"])
def test_what_is_compared_has_a_diagonal(name):
    template = json.loads((ROOT / f".dvc/plots/{name}.json").read_text(encoding="utf-8"))
    (line,) = [layer for layer in template["layer"] if layer["mark"].get("type") == "rule"]
    assert {"x", "x2", "y", "y2"} <= set(line["encoding"])
