"""Check all of params.yaml before any other stage runs, and name the study of this run.

DVC removes a stage's outputs before it runs the stage, so a stage that refuses a value has lost its
outputs already. Every other stage depends on this one, which has nothing to lose.
"""

from fdpo.config.params import Params
from fdpo.core.errors import UserError
from fdpo.core.files import write_json
from fdpo.run import locks
from fdpo.run.settings import load_params
from stages import paths

RESTORE = (
    "no output was removed; correct params.yaml (`git diff params.yaml` shows what changed,"
    " `git restore params.yaml` undoes all of it) and run again"
)


def main() -> None:
    """Check params.yaml, and write which study it chooses."""
    try:
        settings: Params = load_params()
    except UserError as error:
        raise UserError(*error.lines, RESTORE) from None
    write_json(paths.STUDY_OF_RUN, {"study": settings.study})


if __name__ == "__main__":
    locks.run("check", main)
