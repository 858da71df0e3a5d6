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


def test_a_study_without_a_judge_has_the_other_numbers_and_no_judge_anywhere(
    tmp_path_factory, tmp_path
):
    finished = stage_runs.finished_workspace(tmp_path_factory.mktemp("finished"))
    folder = tmp_path / "workspace"
    shutil.copytree(finished.folder, folder)
    with edited_study(folder) as study:
        study["prepare"]["judge"] = None
    stages = ("check", "prepare", "score", "evaluate")
    stage_runs.run_all(stages, folder, **finished.environment)

    for name in FILES:
        assert "judge" in (finished.folder / name).read_text(), name
        assert "judge" not in (folder / name).read_text(), name
    name = "results/evaluate/metrics.json"
    judged, plain = (json.loads((of / name).read_text()) for of in (finished.folder, folder))
    assert plain == {key: value for key, value in judged.items() if not key.startswith("judge")}
    assert [path.name for path in (folder / "models/judge").iterdir()] == ["scorer.json"]
