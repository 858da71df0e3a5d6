"""A stage that is killed goes on where it was, to the same bytes.

`pytest -m 'nightly or not nightly' tests/stages/test_killed.py` kills each ten times.
"""

import shutil
from pathlib import Path

import pytest

from tests.support import stage_runs
from tests.support.settings import edited_study

pytestmark = pytest.mark.slow

KEPT = {"generate": "generations.jsonl", "train": "checkpoint-*"}  # of unfinished work
KILLS = [0, *(pytest.param(number, marks=pytest.mark.nightly) for number in range(1, 10))]


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> stage_runs.Workspace:
    """A workspace whose generation comes in many batches, run again with those."""
    made = stage_runs.finished_workspace(tmp_path_factory.mktemp("finished"))
    with edited_study(made.folder) as study:
        study["generate"]["prompts_per_batch"] = 1
    stage_runs.run_all(("generate", "train"), made.folder, **made.environment)
    return made


@pytest.mark.parametrize("number", KILLS)
@pytest.mark.parametrize("stage", KEPT)
def test_it_goes_on_to_the_same_bytes(finished, tmp_path, stage, number):
    folder = tmp_path / "workspace"
    shutil.copytree(finished.folder, folder)

    def has_work() -> bool:
        kept: list[Path] = list(folder.glob(f".ckpt/{stage}-*/{KEPT[stage]}"))
        if stage == "generate":
            return any(path.read_bytes().count(b"\n") > number for path in kept)
        return bool(kept)

    killed = stage_runs.run(stage, folder, has_work, **finished.environment)
    assert killed.code == -9
    again = stage_runs.run(stage, folder, **finished.environment)
    assert again.code == 0, again.stderr
    assert f"{stage}: goes on after" in again.stdout + again.stderr
    assert stage_runs.digests(folder) == stage_runs.digests(finished.folder)
    assert not [path for path in (folder / ".ckpt").iterdir() if path.is_dir()]
