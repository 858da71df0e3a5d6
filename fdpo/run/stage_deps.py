"""What dvc.yaml says of a stage."""

from pathlib import Path

import yaml

from fdpo.core.errors import UserError


def deps(stage: str) -> list[Path]:
    """The files and folders that the stage depends on, in their order there.

    Raises `UserError` when there is no dvc.yaml, as outside of the repository's root.
    """
    path = Path("dvc.yaml")
    try:
        stages = yaml.safe_load(path.read_text(encoding="utf-8"))["stages"]
    except FileNotFoundError:
        raise UserError(f"{path}: missing; run from the folder that holds it") from None
    return [Path(dep) for dep in stages[stage]["deps"]]
