"""Under which Python a stage runs: the project's, tried once, or a line that says what to do."""

import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from tests.support.clone import ROOT

LACKING = "lacks the project's requirements; run `make install`, then `source .venv/bin/activate`"


@pytest.fixture(scope="module")
def bare(tmp_path_factory) -> Path:
    """A Python without the requirements."""
    folder = tmp_path_factory.mktemp("bare") / "environment"
    venv.create(folder, with_pip=False, symlinks=True)
    return folder


def run(python: Path, folder: Path, module: str = "stages.pair") -> subprocess.CompletedProcess:
    return subprocess.run(
        [python / "bin/python3", "-c", f"import {module}"],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("module", ["stages.pair", "experiments.samples"])
def test_without_an_environment_it_says_what_to_do(bare, tmp_path, module):
    done = run(bare, tmp_path, module)
    assert done.returncode == 2
    assert done.stderr == f"error: {bare}/bin/python3 {LACKING}\n"


@pytest.mark.parametrize("linked", [False, True])
def test_an_incomplete_environment_is_tried_once(bare, tmp_path, linked):
    if linked:  # a link to the very Python that runs
        (tmp_path / ".venv").symlink_to(bare)
    else:
        venv.create(tmp_path / ".venv", with_pip=False, symlinks=True)
    done = run(bare, tmp_path)
    assert done.returncode == 2
    assert done.stderr == (
        "error: .venv is incomplete; run `touch requirements.txt && make install`\n"
    )


def test_the_project_s_own_python_is_found(bare, tmp_path):
    own = tmp_path / ".venv"
    venv.create(own, with_pip=False, symlinks=True)
    site = next((own / "lib").glob("python*/site-packages"))
    (site / "own.pth").write_text(sysconfig.get_paths()["purelib"])
    script = tmp_path / "script.py"
    script.write_text("import sys, stages; print(sys.prefix)")
    done = subprocess.run(
        [bare / "bin/python3", script],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert Path(done.stdout.strip()) == own
    assert sys.prefix != str(own)
