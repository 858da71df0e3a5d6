"""Whatever is wrong with what a stage reads, it ends in one line and leaves its outputs alone."""

import re
import shutil

import pytest

from tests.support import bad_files, bad_models, bad_params, stage_runs
from tests.support.stage_runs import Workspace

pytestmark = pytest.mark.slow

CASES = [*bad_params.CASES, *bad_files.CASES, *bad_models.CASES]


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Workspace:
    return stage_runs.finished_workspace(tmp_path_factory.mktemp("finished"))


def named(case: tuple) -> str:
    stage, _, message = case
    return re.sub(r"[^\w.]+", "-", f"{stage} {message[:70]}")


@pytest.mark.parametrize(("stage", "damage", "message"), CASES, ids=map(named, CASES))
def test_a_stage_ends_in_one_line_and_touches_nothing(finished, tmp_path, stage, damage, message):
    folder = tmp_path / "workspace"
    shutil.copytree(finished.folder, folder)
    damage(folder)
    before = stage_runs.digests(folder)

    ended = stage_runs.run(stage, folder, **finished.environment)

    assert ended.code == 2, ended.stderr
    assert matches(ended.stderr, message), f"{ended.stderr}\nis not\nerror: {message}"
    assert stage_runs.digests(folder) == before


def matches(said: str, message: str) -> bool:
    """All that stands on stderr, bars apart, is this line, a `…` in it being anything."""
    lines = [line for line in said.splitlines() if line and not re.search(r"(it/s|s/it)\]$", line)]
    pattern = ".+".join(map(re.escape, message.split("…")))
    return len(lines) == 1 and re.fullmatch(f"error: {pattern}", lines[0]) is not None
