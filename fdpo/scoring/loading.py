"""Write and load a scorer, the reward model or the judge, of any kind."""

from importlib import import_module
from pathlib import Path
from typing import Any

from fdpo.config.sources import ScorerSection
from fdpo.core.errors import UserError
from fdpo.core.files import read_json
from fdpo.scoring.scorer import NO_SCORER, REMEDY, SCORER_FILE, Scorer

# By the `kind` in scorer.json: the module whose `load(folder)` reads the rest, and which writes it,
# by `write(folder, section)` where a study names such a scorer. Each imports libraries of its own
# (a classifier torch), so only the one that is needed is imported.
KINDS = {
    "ridge": "fdpo.scoring.ridge",
    "embedding": "fdpo.scoring.embedding",
    "classifier": "fdpo.scoring.classifier",
    "python": "fdpo.scoring.function",
}


def write_scorer(folder: Path, section: ScorerSection) -> list[str]:
    """Make `folder`, which has the files that a section names, a scorer.

    Returns: what to know of it, a line each. Raises `UserError` where it can be none.
    """
    notes: list[str] = import_module(KINDS[section.kind]).write(folder, section)
    return notes


def load_judge(folder: str | Path) -> Scorer | None:
    """Load the judge in `folder`, or None where the study has none. Raises as `load_scorer`."""
    return None if read_json(Path(folder) / SCORER_FILE) == NO_SCORER else load_scorer(folder)


def load_scorer(folder: str | Path) -> Scorer:
    """Load the scorer in `folder`.

    Raises `UserError` when files are missing or damaged, or when scorer.json names no known kind.
    """
    path = Path(folder) / SCORER_FILE
    settings: Any = read_json(path)
    kind = settings.get("kind") if isinstance(settings, dict) else None
    if kind not in KINDS:
        raise UserError(f"{path}: kind = {kind!r}: must be {' or '.join(KINDS)}; {REMEDY}")
    scorer: Scorer = import_module(KINDS[kind]).load(folder)
    return scorer
