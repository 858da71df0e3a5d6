"""Pinned requirements."""

import tomllib
from itertools import chain
from pathlib import Path

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


def test_pinned_versions_are_those_that_the_package_declares():
    extras = PROJECT["optional-dependencies"].values()
    declared = {
        canonicalize_name(requirement.name): requirement
        for requirement in map(Requirement, chain(PROJECT["dependencies"], *extras))
    }
    pipeline, dev = pinned("requirements.txt"), pinned("requirements-dev.txt")
    for name, version in (pipeline | dev).items():
        assert name not in declared or declared[name].specifier.contains(version), name
    # setuptools: pip needs it to build the snippets' source package.
    assert set(pipeline) - set(declared) == {"setuptools"}
    # A cluster's own package is installed where there is a cluster.
    assert set(declared) - set(pipeline) - set(dev) == {"dask-jobqueue"}
