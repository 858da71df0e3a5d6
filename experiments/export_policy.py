"""Write the policy as a whole model that `from_pretrained` loads anywhere, without PEFT.

    make export                        # to models/export
    make export DIR=/where/you/like

The adapter is merged into the reference's weights, which are written with the tokenizer, its chat
template and the generation config.
"""

import argparse
import shutil
from pathlib import Path

from experiments.trained_models import load_trained_models
from fdpo.core import errors
from fdpo.core.errors import UserError
from fdpo.core.files import replacing
from stages import paths

EXPORT = paths.MODELS / "export"


def main(arguments: list[str] | None = None) -> None:
    """Export to the folder that the command line names."""
    parser = argparse.ArgumentParser(
        prog="experiments.export_policy", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("folder", nargs="?", type=Path, default=EXPORT, help=f"(default: {EXPORT})")
    folder: Path = parser.parse_args(arguments).folder
    export(folder)
    print(f"{folder}: a whole model, for `from_pretrained` without PEFT")


def export(folder: Path) -> None:
    """Write the merged policy and its tokenizer to `folder`, whole or not at all.

    Raises `UserError` where something is there, no folder can be made, or no policy was trained.
    """
    if folder.exists() or folder.is_symlink():
        raise UserError(f"{folder}: exists already; name a folder that does not, DIR=...")
    if not (paths.POLICY / "objective.json").is_file():
        raise UserError(f"{paths.POLICY}: no trained policy; run `dvc repro` to train one")
    models = load_trained_models()
    models.policy.generation_config = models.reference.generation_config
    try:
        with replacing(folder) as scratch:
            models.policy.save_pretrained(scratch)
            models.tokenizer.save_pretrained(scratch)
            shutil.copyfile(paths.POLICY / "objective.json", scratch / "objective.json")
    except OSError as error:
        raise UserError(f"{folder}: {error.strerror}; name another folder, DIR=...") from None


if __name__ == "__main__":
    errors.run(main)
