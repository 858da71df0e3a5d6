"""Where a study's models and texts come from, as source.json beside them says it."""

from pathlib import Path

from fdpo.core.files import read_json_object, write_json

ORIGIN_FILE = "source.json"
# Of the Hub `repo`, `revision` as the study names it and `commit`, of a local folder `folder` and
# `sha256`; of a model `weights` too, the format that it had.
Origin = dict[str, str]


def read_origin(folder: Path) -> Origin:
    """What the folder of a model says of where it comes from; nothing where it says nothing."""
    path = folder / ORIGIN_FILE
    return read_json_object(path) if path.exists() else {}


def add_to_origin(folder: Path, **facts: str) -> None:
    """Say more of where the model in `folder` comes from."""
    write_json(folder / ORIGIN_FILE, read_origin(folder) | facts)


def public_base(origin: Origin) -> str | None:
    """The repository that others load the same model from, or None where there is none."""
    return None if "adapter_weights" in origin else origin.get("repo")
