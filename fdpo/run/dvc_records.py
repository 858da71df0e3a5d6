"""What DVC has recorded of a stage, where it is not true.

DVC reads params.yaml once more when a stage has ended. Whoever edits the file in that moment, after
the stage has looked at it for the last time, has the new values recorded for what was made with the
old ones. Then DVC takes the stage for done, from dvc.lock, and would bring its outputs back, from
the run cache, whenever the new values come again.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from fdpo.config.yaml_files import read_yaml
from fdpo.core.errors import UserError
from fdpo.run import stage_deps

RECORDS = Path("dvc.lock")


@contextmanager
def true_record(stage: str) -> Iterator[None]:
    """Run a block that raises `UserError` where the outputs of `stage` are not of these params.

    When it does, and DVC takes those outputs for the params' own, DVC's record of them is removed:
    the next `dvc repro` runs the stage, and nothing is to be done by hand. Of several processes
    the first alone calls this.
    """
    try:
        yield
    except UserError as error:
        if _remove_untrue_record(stage):
            removed = f"{RECORDS}: its record of {stage} was untrue and is removed; run `dvc repro`"
            raise UserError(*error.lines, removed) from None
        raise


@contextmanager
def restorable(stage: str) -> Iterator[None]:
    """Run a stage's work; where it refuses, say how the outputs of the last run come back.

    DVC removes them before it runs the stage. What can be known of params.yaml alone is refused by
    `stages.check`, before that; the rest is known only with the stage's inputs. `stages.check` says
    itself how its own come back.
    """
    try:
        yield
    except UserError as error:
        silent = stage == "check" or os.environ.get("RANK", "0") != "0"
        lost = "" if silent else _lost_outputs(stage)
        if not lost:
            raise
        back = f"{lost}: removed by DVC before it ran {stage}; `dvc checkout {lost}` restores it"
        raise UserError(*error.lines, back) from None


def _lost_outputs(stage: str) -> str:
    """The outputs of a stage that are gone and that DVC has a record of, in the user's folder."""
    if "DVC_STAGE" not in os.environ or not Path(os.environ.get("DVC_ROOT", ".")).samefile("."):
        return ""
    try:
        recorded = read_yaml(RECORDS)["stages"][stage]["outs"]
    except (UserError, KeyError):
        return ""
    cached = {str(path) for path in stage_deps.cached_outs(stage) if not path.exists()}
    return " ".join(out["path"] for out in recorded if out["path"] in cached)


def _remove_untrue_record(stage: str) -> bool:
    """Remove the record by which DVC takes the stage for done; whether there was one."""
    from dvc.dvcfile import Lockfile
    from dvc.exceptions import DvcException
    from dvc.repo import Repo, lock_repo

    try:
        with Repo() as repo, lock_repo(repo):
            recorded = repo.stage.load_one(name=stage)
            if recorded.changed():
                return False  # DVC will run it anyway, and the record may be true of what it names
            record = read_yaml(RECORDS)["stages"][stage]
            outputs = [out["md5"] for out in record["outs"]]
            for path in Path(repo.stage_cache.cache_dir).glob("*/*/*"):
                text = path.read_text(encoding="utf-8")
                if all(md5 in text for md5 in outputs) and _same(record, read_yaml(path)):
                    path.unlink()
                    with suppress(OSError):  # another run of the same params lies there too
                        path.parent.rmdir()  # DVC fails at an empty one
            Lockfile(repo, str(RECORDS)).remove_stage(recorded)
    except DvcException:  # no repository of DVC's, or one that another command is at work in
        return False
    return True


def _same(record: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two records, of dvc.lock or of the run cache, are of one run."""
    return _told(record) == _told(other)


def _told(record: dict[str, Any]) -> tuple:
    files = [(file["path"], file["md5"]) for part in ("deps", "outs") for file in record[part]]
    return record["cmd"], record.get("params"), files
