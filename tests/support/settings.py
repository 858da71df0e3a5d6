"""The settings of a workspace, to change."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from fdpo.config.params import study_file
from fdpo.config.yaml_files import read_yaml

ROOT = Path(__file__).parents[2]


def copy_settings(folder: Path) -> None:
    """Put the project's params, studies and pipeline into `folder`."""
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copy(ROOT / name, folder)
    shutil.copytree(ROOT / "studies", folder / "studies")


@contextmanager
def edited_study(folder: Path, study: str = "embedded") -> Iterator[dict[str, Any]]:
    """A study's sections, written back to its file in `folder` when the block ends."""
    path = folder / study_file(study)
    sections = read_yaml(path)
    yield sections
    path.write_text(yaml.safe_dump(sections, sort_keys=False), encoding="utf-8")


def set_knobs(folder: Path, **knobs: object) -> None:
    """Change values of params.yaml in `folder`."""
    path = folder / "params.yaml"
    path.write_text(yaml.safe_dump(read_yaml(path) | knobs, sort_keys=False), encoding="utf-8")
