"""The layout: what each stage depends on, and which way imports point."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
PIPELINE = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
CODE = ("fdpo", "stages")
PACKAGE = ROOT / "fdpo/__init__.py"  # imported by everything; no dep, as it has no code
# Lower floors first. A folder or file of fdpo imports from lower floors and from itself alone.
FLOORS = (
    {"core"},
    {"losses", "pairing"},
    {"config", "baselines"},
    {"run"},
    {"models"},
    {"scoring", "sources", "decoding"},
    {"training", "evaluation"},
)
NO_DEP = ("fdpo/config", "fdpo/run")  # DVC tracks the values; how a stage runs changes no output


def module_file(name: str) -> Path | None:
    path = ROOT.joinpath(*name.split("."))
    for file in (path.with_suffix(".py"), path / "__init__.py"):
        if file.is_file():
            return file
    return None


def imported_names(file: Path) -> set[str]:
    """Dotted names of this project that a file imports anywhere, within functions too."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative imports are not followed here"
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return {name for name in names if name.split(".")[0] in (*CODE, "experiments", "benchmarks")}


def import_closure(module: str) -> set[Path]:
    """Files that importing `module` may run, and what they import; see `NO_DEP`."""
    found: set[Path] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        parts = name.split(".")
        for depth in range(1, len(parts) + 1):
            file = module_file(".".join(parts[:depth]))
            if file is None or file in found | {PACKAGE} or as_dep(file) in NO_DEP:
                continue
            found.add(file)
            waiting.extend(imported_names(file))
    return found


def as_dep(file: Path) -> str:
    """How dvc.yaml names a file: a folder of fdpo by its own path, other files by theirs."""
    parts = file.relative_to(ROOT).parts
    return "/".join(parts[:2])


@pytest.mark.parametrize("stage", PIPELINE)
def test_code_deps_are_the_folders_that_the_stage_imports(stage):
    deps = [dep for dep in PIPELINE[stage]["deps"] if dep.split("/")[0] in CODE]
    imported = {as_dep(file) for file in import_closure(f"stages.{stage}")}
    assert sorted(deps) == sorted(imported)


def room(file: Path) -> str:
    """The folder or module of fdpo that a file belongs to."""
    return file.relative_to(ROOT / "fdpo").with_suffix("").parts[0]


def test_imports_point_down():
    for file in (ROOT / "fdpo").rglob("*.py"):
        if file == PACKAGE:
            continue
        floor = next(number for number, rooms in enumerate(FLOORS) if room(file) in rooms)
        allowed = {room(file)}.union(*FLOORS[:floor])
        for name in imported_names(file):
            top, *rest = name.split(".")
            assert top == "fdpo", f"{file} imports {name}"
            assert not rest or rest[0] in allowed, f"{file} imports {name}, which is not below it"


def test_of_the_stages_others_import_the_names_of_files_alone():
    for top, allowed in (("fdpo", set()), ("experiments", {"stages", "stages.paths"})):
        for file in (ROOT / top).rglob("*.py"):
            stages = {name for name in imported_names(file) if name.split(".")[0] == "stages"}
            assert stages <= allowed, file


def test_light_stages_import_no_torch():
    stages = ", ".join(f"stages.{name}" for name in ("check", "pair", "split", "score"))
    code = f"import sys, {stages}; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
