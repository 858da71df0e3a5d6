"""Load a scorer, the reward model or the judge, from its folder, whatever its kind."""

from pathlib import Path

from fdpo.core.errors import UserError
from fdpo.core.files import read_json
from fdpo.scoring.scorer import SCORER_FILE, Scorer


def load_scorer(folder: str | Path) -> Scorer:
    """Load the scorer in `folder`.

    Raises `UserError` when files are missing or damaged, or when scorer.json names no known kind.
    """
    path = Path(folder) / SCORER_FILE
    settings = read_json(path)
    kind = settings.get("kind") if isinstance(settings, dict) else None
    # Each kind imports libraries of its own (a classifier imports torch), so load only one.
    match kind:
        case "ridge":
            from fdpo.scoring import ridge

            return ridge.load(folder)
        case "embedding":
            from fdpo.scoring import embedding

            return embedding.load(folder)
        case "classifier":
            from fdpo.scoring import classifier

            return classifier.load(folder)
    raise UserError(
        f"{path}: kind = {kind!r}: must be ridge, embedding or classifier;"
        " run `dvc repro` to rebuild the folder"
    )
