"""Finished local experiments that no results file has."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.report import local
from fdpo.core.errors import UserError

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
LONGEST = "controlled-alpha0.5-b0.03-s1"  # of the sweeps' experiments' names
PARAMS = "study: tiny\nloss: alpha\nbeta: 1\nalpha: 0.5\nlr: 0.0002\nseed: 3\n"
STAGE = """
stages:
  measure:
    cmd: python3 -c "import shutil; shutil.copy('all.json', 'metrics.json')"
    deps: [all.json]
    params: [loss, beta, alpha, lr, seed]
    metrics: [{metrics.json: {cache: false}}]
"""


IDENTITY = {
    f"GIT_{role}_{field}": "tester"
    for role in ("AUTHOR", "COMMITTER")
    for field in ("NAME", "EMAIL")
}


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A DVC repository of one stage, with an experiment."""
    for name in ("GLOBAL", "SYSTEM"):
        monkeypatch.setenv(f"DVC_{name}_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "site"))
    monkeypatch.setenv("DVC_NO_ANALYTICS", "1")
    folder = tmp_path / "repository"
    folder.mkdir()
    monkeypatch.chdir(folder)
    (folder / "dvc.yaml").write_text(STAGE)
    (folder / "params.yaml").write_text(PARAMS)
    (folder / "all.json").write_text(json.dumps(dict.fromkeys(local.METRICS, -0.1234)))
    git = ["git", "-c", "user.name=tester", "-c", "user.email=tester@localhost"]
    for command in (
        [*git, "init", "--quiet"],
        [sys.executable, "-m", "dvc", "init", "--quiet"],
        [*git, "add", "--all"],
        [*git, "commit", "--quiet", "--message=start"],
        [sys.executable, "-m", "dvc", "exp", "run", "--quiet", "-n", LONGEST, "-S", "beta=0.5"],
    ):
        subprocess.run(command, check=True, env=os.environ | IDENTITY)
    return folder


def test_experiments_that_no_sweep_reports_are_listed(repository):
    (row,) = local.experiments(reported={"0" * 40})
    assert (row["experiment"], row["loss"], row["beta"], row["seed"]) == (LONGEST, "alpha", 0.5, 3)
    assert all(row[name] == -0.1234 for name in local.METRICS)
    refs = subprocess.check_output(["git", "for-each-ref", "refs/exps"], text=True)
    (commit,) = (ref.split()[0] for ref in refs.splitlines() if ref.endswith(f"/{LONGEST}"))
    assert local.experiments(reported={commit}) == []


def test_the_table_of_experiments_fits_160_columns(repository):
    shown = subprocess.run(
        [sys.executable, "-m", "experiments.table"],
        check=True,
        capture_output=True,
        text=True,
        env=os.environ | {"COLUMNS": "160", "PYTHONPATH": str(ROOT)},
    ).stdout
    header, _, *rows = shown.splitlines()
    assert max(map(len, [header, *rows])) <= 160
    assert any(row.startswith(LONGEST) for row in rows)
    columns = {"loss", "beta", "alpha", "lr", "seed", *local.METRICS} - {"reward_reference"}
    assert set(header.split()) == {"experiment", *columns}
    assert "…" not in shown


def test_without_a_repository_there_are_none(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert local.experiments(reported=set()) == []


def test_what_dvc_cannot_read_is_said(repository):
    (repository / ".dvc/config").write_text("[core\n")
    with pytest.raises(UserError, match=r"^`dvc exp show` failed: .*config.*; correct that"):
        local.experiments(reported=set())
