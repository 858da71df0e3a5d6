"""What surrounds the code: the package and its pinned requirements."""

import os
import subprocess
import sys
import tomllib
from itertools import chain
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def pinned(name: str) -> dict[str, str]:
    """Versions of a requirements file by package; every one must be exact."""
    versions = {}
    for line in (ROOT / name).read_text(encoding="utf-8").splitlines():
        line = line.partition("#")[0].strip()
        if line and not line.startswith("-r "):
            package, _, version = line.partition("==")
            assert version, f"{name}: {line}: not pinned"
            versions[canonicalize_name(package)] = version
    return versions


PIPELINE, DEV = pinned("requirements.txt"), pinned("requirements-dev.txt")
EXTRAS = PROJECT["optional-dependencies"]
DECLARED = {
    canonicalize_name(requirement.name): requirement
    for requirement in map(Requirement, chain(PROJECT["dependencies"], *EXTRAS.values()))
}


def test_pinned_versions_are_those_that_the_package_declares():
    assert not set(PIPELINE) & set(DEV)
    for name, version in (PIPELINE | DEV).items():
        assert name not in DECLARED or DECLARED[name].specifier.contains(version), name
    # setuptools: pip needs it to build the snippets' source package.
    assert set(PIPELINE) - set(DECLARED) == {"setuptools"}
    # A cluster's own package is installed where there is a cluster.
    assert set(DECLARED) - set(PIPELINE) - set(DEV) == {"dask-jobqueue"}


@pytest.mark.nightly
def test_the_installed_package_imports_from_anywhere(tmp_path):
    """Built from a copy, as setuptools leaves files beside what it builds."""
    copy, installed, elsewhere = (tmp_path / name for name in ("copy", "installed", "elsewhere"))
    listed = subprocess.check_output(
        ["git", "ls-files", "-z", "fdpo", "pyproject.toml", "README.md", "LICENSE"], cwd=ROOT
    )
    for name in filter(None, listed.decode().split("\0")):
        if (ROOT / name).exists():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            (copy / name).write_bytes((ROOT / name).read_bytes())
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--target", str(installed), str(copy)], check=True, capture_output=True)
    elsewhere.mkdir()
    said = subprocess.check_output(
        [sys.executable, "-c", "from fdpo import losses; print(losses.__file__)"],
        cwd=elsewhere,
        env=os.environ | {"PYTHONPATH": str(installed)},
        text=True,
    )
    assert said.strip() == str(installed / "fdpo/losses.py")
