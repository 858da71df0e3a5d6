"""Check all of params.yaml before any other stage runs, and name the study of this run.

DVC removes a stage's outputs before it runs the stage, so a stage that refuses a value has lost its
outputs already. Every other stage depends on this one, which has nothing to lose.

DVC watches the folder of local files as a whole. This stage runs when anything in it changed, and
notes the content of the files that the study names, so that `prepare` runs when one of them did.
"""

from pathlib import Path

from fdpo.config.params import Params
from fdpo.config.study import Study
from fdpo.config.study_sources import LocalFile, local_sections
from fdpo.core.errors import UserError
from fdpo.core.files import write_json
from fdpo.core.local_files import require_portable, sha256_of
from fdpo.run import locks, stage_deps
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
        contents = local_contents(settings.active)
    except UserError as error:
        raise UserError(*error.lines, RESTORE) from None
    write_json(paths.STUDY_OF_RUN, {"study": settings.study})
    write_json(paths.LOCAL_INPUTS, contents)


def local_contents(study: Study) -> dict[str, str]:
    """The sha256 of each local file and folder that the study names.

    Raises `UserError` where one is missing, or lies where DVC watches nothing; a file whose sha256
    params.yaml holds may lie anywhere in the repository.
    """
    contents = {}
    for section in local_sections(study.prepare):
        require_portable(section.path)
        pinned = isinstance(section, LocalFile) and section.sha256 is not None
        watched = [Path(section.path).is_relative_to(dep) for dep in stage_deps.deps("check")]
        if not pinned and not any(watched):
            raise UserError(
                f"{section.path}: DVC does not watch it; move it to inputs/, and write its new path"
            )
        contents[section.path] = sha256_of(section.path)
    return contents


if __name__ == "__main__":
    locks.run("check", main)
