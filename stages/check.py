"""Check params.yaml and the study's file before any other stage runs, and name the study.

DVC removes a stage's outputs before it runs the stage, so a stage that refuses a value has lost its
outputs already. Every other stage depends on this one, which has nothing to lose.

DVC watches the folder of local files as a whole. This stage runs when anything in it changed, and
notes the content of the files that the study names, so that `prepare` runs when one of them did.
"""

from pathlib import Path

from fdpo.config.params import load_params
from fdpo.config.sources import local_files_of
from fdpo.config.study import Study
from fdpo.core.errors import UserError
from fdpo.core.files import write_json
from fdpo.core.local_files import sha256_of
from fdpo.run import stage
from stages import paths


def main() -> None:
    """Check the settings, and write which study they choose and what is in its local files."""
    settings = load_params()
    contents = local_contents(settings.active)
    write_json(paths.STUDY_OF_RUN, {"study": settings.study})
    write_json(paths.LOCAL_INPUTS, contents)


def local_contents(study: Study) -> dict[str, str]:
    """The sha256 of each local file and folder that the study names.

    Raises `UserError` where one is missing, or lies where DVC watches nothing; a file whose sha256
    the study has may lie anywhere.
    """
    contents = {}
    for name, sha256 in local_files_of(study.prepare):
        path = Path(name)
        watched = path.is_relative_to(paths.USER_DATA) and ".." not in path.parts
        linked = any(part.is_symlink() and part.is_dir() for part in (path, *path.parents))
        if sha256 is None and (linked or not watched):
            raise UserError(
                f"{path}: DVC watches {paths.USER_DATA}/, and follows links to files alone; use"
                f" `cp -r` or `cp -rs {path} {paths.USER_DATA}/` and name that path"
            )
        contents[name] = sha256_of(name)
    return contents


if __name__ == "__main__":
    stage.run("check", main)
