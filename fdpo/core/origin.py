"""Where a study's models and texts come from, as source.json beside them says it."""

from dataclasses import asdict, dataclass
from pathlib import Path

from fdpo.core.files import read_json_object, write_json

ORIGIN_FILE = "source.json"


@dataclass(frozen=True)
class Origin:
    """Where a folder's files come from; a model's folder holds this as source.json."""

    repo: str
    revision: str  # as params.yaml names it: a branch, a tag or a commit
    commit: str  # 40 hexadecimal digits; of a local file its sha256
    weights: str | None = None  # the format that the repository had; None for a dataset


@dataclass(frozen=True)
class LocalOrigin:
    """The local folder that a model was copied from; nobody else can fetch it."""

    folder: str
    sha256: str
    weights: str


def present_fields(origin: Origin | LocalOrigin) -> dict[str, str]:
    """The fields of `origin` that have a value."""
    return {key: value for key, value in asdict(origin).items() if value is not None}


def read_origin(folder: Path) -> dict[str, str]:
    """What the folder of a model says of where it comes from; nothing where it says nothing."""
    path = folder / ORIGIN_FILE
    return read_json_object(path) if path.exists() else {}


def add_to_origin(folder: Path, **facts: str) -> None:
    """Say more of where the model in `folder` comes from."""
    write_json(folder / ORIGIN_FILE, read_origin(folder) | facts)


def public_base(origin: dict[str, str]) -> str | None:
    """The repository that others load the same model from, or None where there is none."""
    return None if "adapter_weights" in origin else origin.get("repo")
