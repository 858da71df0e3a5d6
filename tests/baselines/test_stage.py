"""The stages generate and score with baselines of the reference, and without."""

import json
from pathlib import Path

import pytest

from tests.support import stage_runs
from tests.support.settings import edited_study
from tests.support.stage_runs import Workspace

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Workspace:
    return stage_runs.finished_workspace(tmp_path_factory.mktemp("finished"))


def rerun(workspace: Workspace, baselines: dict | None, best_of: list[int] | None) -> list[dict]:
    """The entries that generate and score give with these settings."""
    ask_for(workspace, baselines, best_of)
    for stage in ("generate", "score"):
        ended = stage_runs.run(stage, workspace.folder, **workspace.environment)
        assert ended.code == 0, f"{stage}: {ended.stderr}"
    return json.loads((workspace.folder / "results/baselines.json").read_text())


def ask_for(workspace: Workspace, baselines: dict | None, best_of: list[int] | None) -> None:
    """Put these settings into the study."""
    with edited_study(workspace.folder) as study:
        study["generate"].pop("baselines", None)
        study["score"].pop("best_of", None)
        if baselines:
            study["generate"]["baselines"] = baselines
        if best_of:
            study["score"]["best_of"] = best_of


def without_baselines(folder: Path) -> tuple[list[dict], bytes]:
    """What generate and score gave beside them."""
    lines = (folder / "data/generations.jsonl").read_text().splitlines()
    generations = [json.loads(line) for line in lines]
    for generation in generations:
        generation.pop("baselines", None)
    return generations, (folder / "data/scores.jsonl").read_bytes()


def test_baselines_change_neither_completions_nor_scores(finished):
    wanted = {"temperatures": [0.9, 0.5], "samples_per_temperature": 2, "plain_samples": 8}
    entries = rerun(finished, wanted, [2, 8])
    kinds = [(entry["baseline"], entry.get("temperature", entry.get("n"))) for entry in entries]
    assert kinds == [("temperature", 0.9), ("temperature", 0.5), ("best_of", 2), ("best_of", 8)]
    assert [entry["samples"] for entry in entries] == [2, 2, 8, 8]
    warm, cold, best_of_2, best_of_8 = (entry["metrics"] for entry in entries)
    assert 0 < warm["kl"]["value"] < cold["kl"]["value"]
    assert warm["entropy"]["value"] > cold["entropy"]["value"]
    gains = [entry["reward_difference"]["value"] for entry in (best_of_2, best_of_8)]
    assert 0 < gains[0] < gains[1]
    others = without_baselines(finished.folder)

    assert rerun(finished, None, None) == []
    assert without_baselines(finished.folder) == others
    assert b"baselines" not in (finished.folder / "data/generations.jsonl").read_bytes()


def test_best_of_n_needs_no_samples_of_its_own(finished):
    (entry,) = rerun(finished, None, [2])
    assert (entry["n"], entry["samples"]) == (2, 4)


def test_generations_without_the_samples_asked_for_are_refused(finished):
    one = {"temperatures": [0.9], "samples_per_temperature": 1, "plain_samples": 4}
    for drawn in (None, one):
        rerun(finished, drawn, None)
        ask_for(finished, one | {"temperatures": [0.9, 0.5]}, None)
        ended = stage_runs.run("score", finished.folder, **finished.environment)
        assert ended.code == 2
        assert "data/generations.jsonl: prompt " in ended.stderr
        assert ended.stderr.rstrip().endswith("rebuild the file with `dvc repro`")
