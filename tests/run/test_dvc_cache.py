"""A DVC cache that is gone or cannot be written to is said before any work, and nothing is lost."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.sweep.private_clones import private_clones
from fdpo.core.errors import UserError
from fdpo.run.dvc_cache import require_cache
from tests.support import two_stage_repo


@pytest.fixture
def repository(tmp_path, monkeypatch) -> Path:
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc/config").touch()
    for level in ("GLOBAL_CONFIG", "SYSTEM_CONFIG", "SITE_CACHE"):
        monkeypatch.setenv(f"DVC_{level}_DIR", str(tmp_path / "none"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def name_cache(folder: str) -> None:
    Path(".dvc/config.local").write_text(f"[cache]\n    dir = {folder}\n", encoding="utf-8")


def refused() -> str:
    with pytest.raises(UserError) as error:
        require_cache()
    (line,) = error.value.lines
    return line


def test_the_cache_of_a_fresh_clone_is_yet_to_be_made(repository):
    require_cache()


def test_one_that_was_set_up_must_be_there(repository):
    name_cache("../shared")  # of the file that says it
    line = refused()
    assert line.startswith(
        f"{repository / 'shared'}: DVC's cache is set up to be there, and is not;"
    )
    assert f"or `mkdir -p {repository / 'shared'}` where it is to be new" in line
    Path("shared").mkdir()
    require_cache()


@pytest.mark.parametrize("made", [False, True])
def test_one_that_cannot_be_written_to_is_named(repository, monkeypatch, made):
    cache = Path(".dvc/cache")
    if made:
        cache.mkdir()
    asked = []
    monkeypatch.setattr(os, "access", lambda path, _: asked.append(path))
    assert refused().startswith(
        ".dvc/cache: DVC's cache, which cannot be written to; give yourself"
    )
    assert [path.resolve() for path in asked] == [(cache if made else cache.parent).resolve()]


def test_a_sweep_makes_no_clone_for_a_cache_that_is_gone(repository):
    subprocess.run(["git", "init", "--quiet"], check=True)
    name_cache("../shared")
    clones = Path("clones")
    with pytest.raises(UserError, match="is set up to be there"), private_clones(clones, 1):
        pass
    assert not clones.exists()


@pytest.mark.slow
def test_when_the_cache_is_back_nothing_runs_anew(tmp_path):
    clone = two_stage_repo.make(tmp_path)
    params = clone.bytes("params.yaml")
    (clone.folder / ".dvc/cache").rename(tmp_path / "moved")
    clone.dvc("cache", "dir", "--local", str(tmp_path / "gone"))
    for command in (("repro",), ("exp", "run", "-S", "beta=0.3")):
        done = clone.run(sys.executable, "-m", "dvc", *command)
        assert done.returncode != 0
        said = [line for line in done.stderr.splitlines() if line.startswith("error:")]
        assert said[0].startswith(f"error: {tmp_path / 'gone'}: DVC's cache is set up to be")
        (clone.folder / "params.yaml").write_bytes(params)
    clone.dvc("cache", "dir", "--local", str(tmp_path / "moved"))
    assert "Running stage" not in clone.dvc("repro")
    assert clone.git("status", "--porcelain") == ""
