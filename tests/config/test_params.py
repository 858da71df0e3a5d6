"""Settings: every wrong value ends in a line that names it, before any output is touched."""

import copy
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from dvc.utils.hydra import apply_overrides
from dvc.utils.serialize import load_yaml
from hypothesis import strategies as st

from fdpo.config.params import check_params, load_params
from fdpo.config.yaml_files import read_yaml
from fdpo.core.errors import UserError
from tests.support.settings import copy_settings

ROOT = Path(__file__).parents[2]
KNOBS = read_yaml(ROOT / "params.yaml")
STUDY = read_yaml(ROOT / "studies/embedded.yaml")
STUDIES = sorted(path.stem for path in (ROOT / "studies").glob("*.yaml"))


def changed(whole: dict, key: str, value: Any) -> dict:
    """A copy with the value at a dotted key replaced; `...` removes it."""
    whole = copy.deepcopy(whole)
    *path, last = key.split(".")
    section = whole
    for part in path:
        section = section[part]
    if value is ...:
        del section[last]
    else:
        section[last] = value
    return whole


@pytest.fixture
def copied(tmp_path) -> Path:
    """The project's own settings and pipeline, to change."""
    copy_settings(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("loss", "kto"),
        ("beta", 0),
        ("beta", "0.1"),
        ("alpha", 1),
        ("lr", 0),
        ("seed", 2**32),
        ("study", "a/b"),
        ("bta", 1),
        ("beta", ...),
    ],
)
def test_a_wrong_knob_is_named(key, value):
    with pytest.raises(UserError) as caught:
        check_params(changed(KNOBS, key, value), STUDY)
    assert caught.value.lines
    assert all(line.startswith(f"params.yaml: {key}") for line in caught.value.lines)


@pytest.mark.parametrize(
    ("key", "value", "named"),
    [
        ("split.test_size", 1.0, "split.test_size"),
        ("generate.baselines.plain_samples", 3, "generate.baselines.plain_samples"),
        ("generate.train.strategy", "beam", "generate.train"),
        ("generate.train.completions", 5, "pair.ranks"),
        ("score.best_of", [2, 5], "score.best_of"),
        ("pair.ranks", [[4, 1]], "pair.ranks"),
        ("pair.ranks", "given", "pair.ranks"),
        ("train.warmup_steps", 41, "train.warmup_steps"),
        ("train.epochs", 2.0, "train.epochs"),
        ("train.lr_by_loss", {"jsd": 1.0}, "train.lr_by_loss"),
        ("train.lr_by_loss.kto", 1.0, "train.lr_by_loss"),
        ("prepare.source", "url", "prepare"),
        ("prepare.template", "{words} ", "prepare"),
    ],
)
def test_so_is_one_of_a_study(key, value, named):
    with pytest.raises(UserError) as caught:
        check_params(KNOBS, changed(STUDY, key, value))
    assert any(line.startswith(f"studies/embedded.yaml: {named}") for line in caught.value.lines), (
        caught.value.lines
    )


def test_a_warmup_may_last_until_the_last_step():
    """200 prompts and one pair of each are 25 steps of 8 pairs, before some are split off."""
    study = check_params(KNOBS, changed(STUDY, "train.warmup_steps", 24)).active
    with pytest.raises(ValueError, match=r"warmup_steps = .* on 8 pairs has 1 steps, so the"):
        study.train.check_warmup(8)


@pytest.mark.parametrize("study", STUDIES)
def test_the_project_s_own_studies_are_good(copied, study):
    apply_overrides(copied / "params.yaml", [f"study={study}"])
    assert load_params(copied).study == study


@pytest.mark.parametrize(
    "content", ["a: [", "- beta\n", "a: &a [*b]", "beta: 1\nbeta: 2\n", b"\xff\xfe\x00"]
)
def test_what_is_no_map_is_refused_in_one_line(copied, content):
    for name in ("params.yaml", "studies/embedded.yaml"):
        path = copied / name
        before = path.read_bytes()
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        with pytest.raises(UserError) as caught:
            load_params(copied)
        assert str(caught.value).startswith(f"{path}: ")
        assert "\n" not in str(caught.value)
        path.write_bytes(before)


def test_a_missing_study_is_named_with_those_there_are(copied):
    apply_overrides(copied / "params.yaml", ["study=foo"])
    with pytest.raises(UserError, match=r"no studies/foo.yaml; there are embedded, .*imdb"):
        load_params(copied)


@pytest.mark.parametrize("written", ["1e-5", "1E-5", "0.00001"])
def test_numbers_as_dvc_and_people_write_them_are_numbers(copied, written):
    path = copied / "params.yaml"
    path.write_text(path.read_text().replace("lr: auto", f"lr: {written}"))
    assert load_params(copied).effective_lr == 1e-5


@pytest.mark.parametrize(("loss", "rate"), [("sigmoid", 0.1), ("hinge", 0.2), ("jsd", 0.1)])
def test_lr_auto_is_the_study_s_for_the_loss_or_its_default(loss, rate):
    study = changed(STUDY, "train.lr_by_loss", {"default": 0.1, "hinge": 0.2})
    assert check_params(changed(KNOBS, "loss", loss), study).effective_lr == rate


@pytest.mark.parametrize("written", ["1e-2", "010", "0o10", "1:30", "yes", "1_000"])
def test_a_value_means_to_us_what_it_means_to_dvc(tmp_path, written):
    path = tmp_path / "values.yaml"
    path.write_text(f"value: {written}\n")
    assert repr(read_yaml(path)) == repr(load_yaml(path))


def test_a_stage_ends_in_one_line_and_touches_nothing(copied):
    apply_overrides(copied / "params.yaml", ["beta=-1"])
    (copied / "data").mkdir()
    (copied / "data/train.jsonl").write_text("old")
    command = [sys.executable, "-m", "stages.split"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    stage = subprocess.run(command, cwd=copied, env=environment, capture_output=True, text=True)
    (line,) = stage.stderr.splitlines()
    assert (stage.returncode, stage.stdout) == (2, "")
    assert line.startswith("error: params.yaml: beta = -1: ")
    assert os.listdir(copied / "data") == ["train.jsonl"]
    assert (copied / "data/train.jsonl").read_text() == "old"


VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
VALUES |= st.lists(VALUES, max_size=3) | st.dictionaries(st.text(max_size=5), VALUES, max_size=3)
