"""Load a scorer, the reward model or the judge, from its folder, whatever its kind."""

from pathlib import Path

from fdpo.core.errors import UserError
from fdpo.core.files import read_json
from fdpo.scoring.scorer import NO_SCORER, SCORER_FILE, Scorer


def load_judge(folder: str | Path) -> Scorer | None:
    """Load the judge in `folder`, or None where the study has none. Raises as `load_scorer`."""
    if read_json(Path(folder) / SCORER_FILE) == NO_SCORER:
        return None
    return load_scorer(folder)


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
        case "python":
            from fdpo.scoring import function

            return function.load(folder)
    raise UserError(
        f"{path}: kind = {kind!r}: must be ridge, embedding, classifier or python;"
        " run `dvc repro` to rebuild the folder"
    )
