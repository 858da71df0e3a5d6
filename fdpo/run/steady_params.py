"""A stage's params are those of its run from beginning to end.

DVC reads params.yaml when a run begins and once more when each stage has ended, and writes what it
finds then into dvc.lock and its run cache. Meanwhile someone may edit the file, or a `dvc exp run
-S` that began before the workspace was claimed. So a stage fails, rather than let DVC record other
params than those it ran with.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fdpo.config.yaml_files import read_yaml
from fdpo.core.errors import UserError
from fdpo.core.files import read_json_object
from fdpo.run import stage_deps
from fdpo.run.dvc_records import true_record

_PARAMS = Path("params.yaml")


@contextmanager
def steady_params(stage: str) -> Iterator[None]:
    """Run the block with params that DVC may record.

    Raises:
        UserError: the study is not that of the run; or when the block has ended, one of the params
            that dvc.yaml names for the stage is not what it was at the beginning.
    """
    if os.environ.get("RANK", "0") != "0":  # one of several processes speaks for all
        yield
        return
    before = read_yaml(_PARAMS)
    study = str(before.get("study"))
    with true_record("check"):
        _require_study_of_run(stage, study)
    keys = ["study", *stage_deps.params(stage, study)]
    yield
    try:
        after = read_yaml(_PARAMS)
    except UserError as error:
        raise UserError(f"{error}; it was whole when {stage} began") from None
    for key in keys:
        old, new = value_at(before, key), value_at(after, key)
        if old != new:
            raise UserError(_changed(stage, *difference(key, old, new)))


def _require_study_of_run(stage: str, study: str) -> None:
    """Raise `UserError` where the stage depends on what `stages.check` found, another study."""
    for path in stage_deps.cached_outs("check"):
        if path not in stage_deps.deps(stage) or not path.exists():
            continue
        begun = read_json_object(path).get("study", study)  # of its outputs one has it
        if begun != study:
            raise UserError(
                f"{_PARAMS}: study = {study}, but this run began with {begun}; it was changed"
                " meanwhile, by hand or by a second `dvc exp run -S`; run again"
            )


def value_at(values: Any, key: str) -> Any:
    """The value at a dotted key, or None where there is none."""
    for part in key.split("."):
        values = values.get(part) if isinstance(values, dict) else None
    return values


def difference(key: str, old: Any, new: Any) -> tuple[str, Any, Any]:
    """The first key, at or below `key`, whose values differ, and the two values."""
    if isinstance(old, dict) and isinstance(new, dict):
        for part in [*old, *new]:
            if old.get(part) != new.get(part):
                return difference(f"{key}.{part}", old.get(part), new.get(part))
    return key, old, new


def _changed(stage: str, key: str, old: Any, new: Any) -> str:
    return (
        f"{_PARAMS}: {key} was {old} when {stage} began and is {new} now, changed by hand or by a"
        f" second `dvc exp run -S`; DVC would record {new} for what was made with {old}. Nothing"
        f" is recorded and the work is kept: set {key} back to {old} and run again to finish it,"
        f" or run again as it is to start with {new}"
    )
