"""A folder in which stages run on a finished pipeline's data, and change nothing of it."""

import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from benchmarks.measure import ROOT, Run, module
from benchmarks.timed import TIMES
from fdpo.core.errors import UserError
from stages import paths


@contextmanager
def workspace(root: Path, changes: Mapping[str, Any] | None = None) -> Iterator[Path]:
    """Yield a temporary folder with `root`'s params.yaml and links to its data and models.

    `changes` are values of params.yaml by their dotted names. A stage replaces a link by what it
    writes. Raises `UserError` when the pipeline has not run up to its pairs.
    """
    needed = root / paths.TEST_PAIRS
    if not needed.exists():
        raise UserError(f"{needed}: missing; run `dvc repro` before this benchmark")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in ("data", "models"):
            (folder / part).mkdir()
            for entry in (root / part).resolve().iterdir():
                (folder / part / entry.name).symlink_to(entry.resolve())
        settings = yaml.safe_load((root / "params.yaml").read_text(encoding="utf-8"))
        for dotted, value in (changes or {}).items():
            *sections, key = dotted.split(".")
            section = settings
            for part in sections:
                section = section[part]
            section[key] = value
        (folder / "params.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
        shutil.copy(ROOT / "dvc.yaml", folder)  # it names what unfinished work depends on
        yield folder


def stage(folder: Path, name: str) -> Run:
    """Run a stage in a workspace."""
    return module(f"stages.{name}", cwd=folder)


def timed_stage(folder: Path, name: str) -> tuple[Run, dict[str, float], float]:
    """Run a stage in a workspace; also return its wall seconds a part, and a GPU's peak in MiB."""
    run = module("benchmarks.timed", "-m", f"stages.{name}", cwd=folder, **{TIMES: str(folder)})
    measured = json.loads((folder / f"{name}.json").read_text())
    return run, measured["seconds"], measured["gpu_mib"]
