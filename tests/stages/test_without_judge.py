"""A study with `judge: null`: nothing that its stages write has a word of a judge."""

import json
import shutil

import pytest

from tests.support import stage_runs
from tests.support.settings import edited_study

pytestmark = pytest.mark.slow

FILES = (
    "data/scores.jsonl",
    "results/baselines.json",
    "results/metrics.json",
    "results/evaluate/metrics.json",
    "results/evaluate/samples.jsonl",
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> stage_runs.Workspace:
    return stage_runs.finished_workspace(tmp_path_factory.mktemp("finished"))


def test_a_study_without_a_judge_has_the_other_numbers_and_no_judge_anywhere(finished, tmp_path):
    folder = tmp_path / "workspace"
    shutil.copytree(finished.folder, folder)
    with edited_study(folder) as study:
        study["prepare"]["judge"] = None
    for stage in ("check", "prepare", "score", "evaluate"):
        ended = stage_runs.run(stage, folder, **finished.environment)
        assert ended.code == 0, f"{stage}: {ended.stderr}"

    for name in FILES:
        assert "judge" in (finished.folder / name).read_text(), name
        assert "judge" not in (folder / name).read_text(), name
    name = "results/evaluate/metrics.json"
    judged, plain = (json.loads((of / name).read_text()) for of in (finished.folder, folder))
    assert plain == {key: value for key, value in judged.items() if not key.startswith("judge")}
    assert [path.name for path in (folder / "models/judge").iterdir()] == ["scorer.json"]


def test_scores_without_a_judge_are_refused_where_the_study_has_one(finished, tmp_path):
    folder = tmp_path / "workspace"
    shutil.copytree(finished.folder, folder)
    judge = folder / "models/judge"
    shutil.move(judge, tmp_path / "judge")
    judge.mkdir()
    (judge / "scorer.json").write_text('{"kind": "none"}')
    assert stage_runs.run("score", folder, **finished.environment).code == 0
    shutil.rmtree(judge)
    shutil.move(tmp_path / "judge", judge)

    ended = stage_runs.run("evaluate", folder, **finished.environment)

    assert ended.code == 2
    assert "completions[0].judge: missing; rebuild the file with `dvc repro`" in ended.stderr
