"""Every stage's deps in dvc.yaml are exactly the project modules it imports."""

import ast
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
PACKAGES = ("fdpo", "stages")


def module_file(name: str) -> Path | None:
    path = ROOT.joinpath(*name.split("."))
    for file in (path.with_suffix(".py"), path / "__init__.py"):
        if file.is_file():
            return file
    return None


def imported_names(file: Path) -> set[str]:
    """Dotted names that a file imports anywhere, within functions too."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative imports are not followed here"
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return {name for name in names if name.split(".")[0] in PACKAGES}


def import_closure(module: str) -> set[str]:
    """Files that importing `module` may run, its packages' __init__ files included."""
    found: set[Path] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        parts = name.split(".")
        for depth in range(1, len(parts) + 1):
            file = module_file(".".join(parts[:depth]))
            if file is not None and file not in found:
                found.add(file)
                waiting.extend(imported_names(file))
    return {str(file.relative_to(ROOT)) for file in found}


@pytest.mark.parametrize("stage", STAGES)
def test_deps_equal_the_import_closure(stage):
    named = {dep for dep in STAGES[stage]["deps"] if dep.endswith(".py")}
    assert named == import_closure(f"stages.{stage}")


def test_the_library_never_imports_the_stages():
    for file in (ROOT / "fdpo").rglob("*.py"):
        assert not any(name.startswith("stages") for name in imported_names(file)), file
