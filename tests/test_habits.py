"""What surrounds the code: the package, pinned requirements, make and workflows."""

import os
import re
import subprocess
import sys
import tomllib
from itertools import chain
from pathlib import Path

import yaml
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


def make(*arguments: str) -> str:
    """What make would run."""
    command = ["make", "--no-print-directory", "--dry-run", *arguments]
    return subprocess.check_output(command, cwd=ROOT, text=True)


def test_make_alone_prints_every_target_with_what_it_does():
    said = subprocess.check_output(["make", "--no-print-directory"], cwd=ROOT, text=True)
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    phony = re.search(r"^\.PHONY: ((?:.*\\\n)*.*)", makefile, re.MULTILINE).group(1)
    for target in phony.replace("\\", "").split():
        assert re.search(rf"^  {target} +\w", said, re.MULTILINE), f"{target}: not in help"


def test_repro_installs_the_pipeline_alone_and_lint_the_rest():
    """As in a clone without .venv, whose stamps are missing."""
    fresh = "--assume-new=requirements.txt", "--assume-new=requirements-dev.txt"
    assert "-r requirements-dev.txt" not in make(*fresh, "repro")
    assert "-r requirements-dev.txt" in make(*fresh, "lint")


def test_workflows_call_what_exists():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for path in sorted((ROOT / ".github/workflows").glob("*.yml")):
        workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
        for job in workflow["jobs"].values():
            for step in job["steps"]:
                script = step.get("run", "")
                for target in re.findall(r"^make ([\w-]+)", script, re.MULTILINE):
                    assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"make {target}"
                for program in re.findall(r"^\.ci/\w+", script, re.MULTILINE):
                    assert os.access(ROOT / program, os.X_OK)


def test_line_ends_are_the_same_on_every_system(tmp_path):
    """A clone whose user has core.autocrlf set has the bytes that dvc.lock was made with."""
    clone = tmp_path / "clone"
    command = ["git", "-c", "core.autocrlf=true", "clone", "--quiet", "--depth=1"]
    subprocess.run([*command, ROOT.as_uri(), str(clone)], check=True, capture_output=True)
    assert b"\r" not in (clone / "fdpo/losses.py").read_bytes()
    assert b"\r" not in (clone / "params.yaml").read_bytes()
