"""fdpo.run.steady_params: a stage's params are those of its run from beginning to end."""

import json
from pathlib import Path

import pytest
import yaml

from fdpo.core.errors import UserError
from fdpo.run.steady_params import steady_params

PARAMS = {
    "study": "mine",
    "beta": 0.1,
    "studies": {"mine": {"train": {"epochs": 3, "lora": {"r": 8}}}, "other": {"train": {}}},
}
PIPELINE = {
    "check": {"outs": ["data/study.json"]},
    "train": {"deps": ["data/study.json"], "params": ["beta", "studies.${study}.train"]},
}


@pytest.fixture(autouse=True)
def workspace(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write(PARAMS)
    Path("dvc.yaml").write_text(yaml.safe_dump({"stages": PIPELINE}))
    return tmp_path


def write(values: dict) -> None:
    Path("params.yaml").write_text(yaml.safe_dump(values))


def changed(key: str, value: object) -> dict:
    values = json.loads(json.dumps(PARAMS))
    *sections, last = key.split(".")
    section = values
    for name in sections:
        section = section[name]
    section[last] = value
    return values


@pytest.mark.parametrize(
    ("key", "value", "named"),
    [
        ("beta", 0.5, "beta was 0.1 when train began and is 0.5 now"),
        ("study", "other", "study was mine when train began and is other now"),
        ("studies.mine.train.lora.r", 9, "studies.mine.train.lora.r was 8 when"),
        ("studies.mine.train.lora", None, "studies.mine.train.lora was {'r': 8} when"),
        ("studies.mine.train.new", 1, "studies.mine.train.new was None when"),
    ],
)
def test_a_param_of_the_stage_that_changes_ends_it(key, value, named):
    with pytest.raises(UserError) as failed, steady_params("train"):
        write(changed(key, value))
    assert f"params.yaml: {named}" in str(failed.value)
    assert "set" in str(failed.value)


@pytest.mark.parametrize(
    ("key", "value"), [("seed", 1), ("studies.other.train", {"epochs": 1}), ("beta", 0.1)]
)
def test_what_the_stage_does_not_read_may_change(key, value):
    with steady_params("train"):
        write(changed(key, value))


def test_a_file_that_cannot_be_read_any_more_ends_it():
    ended = r"not YAML: .*; it was whole when train began"
    with pytest.raises(UserError, match=ended), steady_params("train"):
        Path("params.yaml").write_text("beta: [")


def fail_with_other_params() -> None:
    with steady_params("train"):
        write(changed("beta", 0.5))
        _ = 1 / 0


def test_a_failure_of_the_stage_is_told_as_it_is():
    with pytest.raises(ZeroDivisionError):
        fail_with_other_params()


def test_a_run_of_another_study_is_refused_at_the_beginning(workspace):
    (workspace / "data").mkdir()
    (workspace / "data/study.json").write_text('{"study": "other"}')
    with pytest.raises(UserError, match="study = mine, but this run began with other"):
        steady_params("train").__enter__()
    with steady_params("check"):  # which is about to say what the study is
        pass
