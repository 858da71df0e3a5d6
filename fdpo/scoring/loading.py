"""Load a scorer, the reward model or the judge, from its folder, whatever its kind."""

from importlib import import_module
from pathlib import Path

from fdpo.core.errors import UserError
from fdpo.core.files import read_json
from fdpo.scoring.scorer import NO_SCORER, REMEDY, SCORER_FILE, Scorer

# By the `kind` in scorer.json: the module whose `load(folder)` reads the rest. Each imports
# libraries of its own (a classifier torch), so only the one that is needed is imported.
KINDS = {
    "ridge": "fdpo.scoring.ridge",
    "embedding": "fdpo.scoring.embedding",
    "classifier": "fdpo.scoring.classifier",
    "python": "fdpo.scoring.function",
}


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
    if kind not in KINDS:
        raise UserError(f"{path}: kind = {kind!r}: must be {' or '.join(KINDS)}; {REMEDY}")
    scorer: Scorer = import_module(KINDS[kind]).load(folder)
    return scorer
