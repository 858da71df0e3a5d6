"""Load a scorer, the reward model or the judge, from its folder."""

from pathlib import Path

from fdpo.core.errors import UserError
from fdpo.core.files import read_json
from fdpo.scoring.scorer import SETTINGS, Scorer


def load_scorer(folder: str | Path) -> Scorer:
    """Load the scorer in `folder`.

    Raises `UserError` when files are missing or damaged, or of a kind that is not known here.
    """
    path = Path(folder) / SETTINGS
    settings = read_json(path)
    kind = settings.get("kind") if isinstance(settings, dict) else None
    # Each kind brings its own libraries (a classifier brings torch), so only one is imported.
    match kind:
        case "ridge":
            from fdpo.scoring import ridge

            return ridge.load(folder)
        case "vader":
            from fdpo.scoring import vader

            return vader.load(folder)
        case "classifier":
            from fdpo.scoring import classifier

            return classifier.load(folder)
    raise UserError(
        f"{path}: kind = {kind!r}: must be ridge, vader or classifier;"
        " run `dvc repro` to rebuild the folder"
    )
