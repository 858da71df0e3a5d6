"""What dvc.yaml says of a stage."""

from pathlib import Path
from typing import Any

from fdpo.config.yaml_files import read_yaml
from fdpo.core.errors import UserError

PIPELINE = Path("dvc.yaml")


def deps(stage: str) -> list[Path]:
    """The files and folders that the stage depends on, in their order there.

    Raises `UserError` when there is no dvc.yaml, as outside of the repository's root.
    """
    return [Path(dep) for dep in _stage(stage).get("deps", [])]


def cached_outs(stage: str) -> list[Path]:
    """The files and folders that the stage writes and DVC takes into its cache."""
    return [Path(out) for out in _stage(stage).get("outs", [])]


def params(stage: str, study: str) -> list[str]:
    """The dotted keys of params.yaml that DVC records for the stage, where `study` is the study."""
    keys = _stage(stage).get("params", [])
    return [key.replace("${study}", study) for key in keys]


def _stage(stage: str) -> dict[str, Any]:
    stages = read_yaml(PIPELINE).get("stages", {})
    section = stages.get(stage, {}) if isinstance(stages, dict) else None
    if not isinstance(section, dict):
        raise UserError(
            f"{PIPELINE}: stages.{stage} is no section of keys; restore it from Git"
            f" (`git restore {PIPELINE}`)"
        )
    return section
