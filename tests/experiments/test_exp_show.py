"""The narrow table of experiments that docs/troubleshooting.md shows, by DVC itself."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.clone import IDENTITY

ROOT = Path(__file__).parents[2]
TYPED = re.findall(r"^dvc (exp show .+)$", (ROOT / "docs/troubleshooting.md").read_text(), re.M)
EXPERIMENTS = {"unsafe-grot": ("fkl", 1), "ample-dyer": ("jsd", 0.25)}


@pytest.fixture(scope="module")
def compared(tmp_path_factory) -> Path:
    """A repository with two experiments, made by hand; no stage has run."""
    folder = tmp_path_factory.mktemp("compared")
    for name in ("dvc.yaml", "dvc.lock", "params.yaml", ".dvc/config", "results/metrics.json"):
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, folder / name)

    def git(*command: str) -> str:
        done = subprocess.run(
            ["git", *command],
            cwd=folder,
            env=os.environ | IDENTITY,
            stdout=subprocess.PIPE,
            check=True,
        )
        return done.stdout.decode().strip()

    git("init", "--quiet")
    git("add", ".")
    git("commit", "--quiet", "-m", "First")
    base = git("rev-parse", "HEAD")
    for name, (loss, beta) in EXPERIMENTS.items():
        params = (folder / "params.yaml").read_text(encoding="utf-8")
        params = re.sub(r"^loss: \w+", f"loss: {loss}", params, flags=re.M)
        params = re.sub(r"^beta: \S+", f"beta: {beta}", params, flags=re.M)
        (folder / "params.yaml").write_text(params, encoding="utf-8")
        metrics = json.loads((folder / "results/metrics.json").read_bytes())
        policy = {key: value / 2 for key, value in metrics.items() if key != "reward_reference"}
        (folder / "results/metrics.json").write_text(json.dumps(metrics | policy), encoding="utf-8")
        git("commit", "--quiet", "--all", "-m", name)
        git("update-ref", f"refs/exps/{base[:2]}/{base[2:]}/{name}", "HEAD")
        git("reset", "--quiet", "--hard", base)
    return folder


@pytest.mark.parametrize(("typed", "width"), zip(TYPED, (80, 140), strict=True))
def test_it_fits(compared, typed, width):
    command = [sys.executable, "-m", "dvc", *shlex.split(typed)]
    environment = os.environ | {"COLUMNS": str(width), "DVC_NO_ANALYTICS": "1"}
    done = subprocess.run(command, cwd=compared, env=environment, capture_output=True, check=True)
    shown = done.stdout.decode()
    lines = shown.splitlines()
    assert max(map(len, lines)) <= width
    assert "…" not in shown  # as where a value was cut to fit
    header = next(line for line in lines if "Experiment" in line).split()
    assert {"loss", "beta", "reward", "kl", "judge"} <= set(header)
    assert "reward_reference" not in header or width > 80
    for name, (loss, beta) in EXPERIMENTS.items():
        (row,) = [line.split() for line in lines if name in line]
        assert {loss, str(beta)} <= set(row)
