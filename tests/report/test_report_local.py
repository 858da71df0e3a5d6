"""Finished local experiments that no results file has."""

import os
import subprocess
import sys

import pytest

from experiments.report import local

STAGE = """
stages:
  measure:
    cmd: python3 -c "import shutil; shutil.copy('all.json', 'metrics.json')"
    deps: [all.json]
    params: [loss, beta]
    metrics: [{metrics.json: {cache: false}}]
"""


IDENTITY = {
    f"GIT_{role}_{field}": "tester"
    for role in ("AUTHOR", "COMMITTER")
    for field in ("NAME", "EMAIL")
}


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A DVC repository of one stage, with the experiment `mine`."""
    for name in ("GLOBAL", "SYSTEM"):
        monkeypatch.setenv(f"DVC_{name}_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "site"))
    monkeypatch.setenv("DVC_NO_ANALYTICS", "1")
    folder = tmp_path / "repository"
    folder.mkdir()
    monkeypatch.chdir(folder)
    (folder / "dvc.yaml").write_text(STAGE)
    (folder / "params.yaml").write_text("study: tiny\nloss: jsd\nbeta: 1\nseed: 3\n")
    (folder / "all.json").write_text('{"reward": 0.25, "kl": 1.5}')
    git = ["git", "-c", "user.name=tester", "-c", "user.email=tester@localhost"]
    for command in (
        [*git, "init", "--quiet"],
        [sys.executable, "-m", "dvc", "init", "--quiet"],
        [*git, "add", "--all"],
        [*git, "commit", "--quiet", "--message=start"],
        [sys.executable, "-m", "dvc", "exp", "run", "--quiet", "-n", "mine", "-S", "beta=0.5"],
    ):
        subprocess.run(command, check=True, env=os.environ | IDENTITY)
    return folder


def test_experiments_that_no_sweep_reports_are_listed(repository):
    (row,) = local.experiments(reported={"swept"})
    assert (row["experiment"], row["loss"], row["beta"], row["seed"]) == ("mine", "jsd", 0.5, 3)
    assert (row["reward"], row["kl"], row["win_rate"]) == (0.25, 1.5, None)
    assert local.experiments(reported={"mine"}) == []


def test_without_a_repository_there_are_none(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert local.experiments(reported=set()) == []
