"""make new-study: a section of params.yaml that DVC keeps, and that stops no other study."""

import re
import shutil
from pathlib import Path

import pytest
import yaml
from dvc.utils.hydra import apply_overrides
from dvc.utils.serialize import load_yaml

from experiments import new_study
from fdpo.core.errors import UserError
from fdpo.run.settings import load_params

ROOT = Path(__file__).parents[2]
PARAMS = Path("params.yaml")
READY = sorted(path.name for path in (ROOT / "examples").glob("*.yaml") if path.stem != "study")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Path:
    shutil.copy(ROOT / "params.yaml", tmp_path)
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def add(capsys, *arguments: str) -> list[str]:
    new_study.main(list(arguments))
    return capsys.readouterr().out.splitlines()


def test_a_section_to_fill_in_is_added_below_all_others(capsys):
    before = PARAMS.read_text()
    added, fill_in, run = add(capsys, "mine")
    assert added == "params.yaml: added the study mine, as in examples/study.yaml"
    assert "prepare.reference.repo" in fill_in
    assert "prepare.prompts.path" in fill_in
    assert run == "then run: dvc exp run -S study=mine"
    after = PARAMS.read_text()
    assert after.startswith(before)
    section = yaml.safe_load((ROOT / "examples/study.yaml").read_text())
    assert yaml.safe_load(after)["studies"].pop("mine") == section
    # Its comments came along, the first ones above its name.
    assert after.count("#") == before.count("#") + (ROOT / "examples/study.yaml").read_text().count(
        "#"
    )
    assert re.search(r"\n\n  # Sampled pairs .*\n  # .*\n  mine:\n    prepare:\n", after)


def test_an_unfinished_study_is_refused_in_a_line_when_it_is_to_run_and_stops_no_other(capsys):
    _, fill_in, _ = add(capsys, "mine")
    assert load_params().study == "embedded"
    PARAMS.write_text(re.sub("(?m)^study: embedded", "study: mine", PARAMS.read_text()))
    with pytest.raises(UserError) as refused:
        load_params()
    keys = fill_in.removeprefix("fill in where it says TODO: ")
    assert refused.value.lines == [
        f"params.yaml: studies.mine: TODO stands where a value of yours is needed; fill in {keys}"
    ]
    text = PARAMS.read_text().replace("repo: TODO", "repo: me/model")
    PARAMS.write_text(text.replace("inputs/TODO.csv", "inputs/a TODO list.csv"))
    assert load_params().active.prepare.reference.repo == "me/model"


@pytest.mark.parametrize("file", READY)
def test_a_ready_section_passes_the_check(capsys, file):
    printed = add(capsys, f"--from=examples/{file}", "mine")
    assert printed[1:] == ["then run: dvc exp run -S study=mine"]
    PARAMS.write_text(re.sub("(?m)^study: embedded", "study: mine", PARAMS.read_text()))
    assert load_params().active.model_dump(exclude_unset=True)


@pytest.mark.parametrize("file", [*READY, "study.yaml"])
def test_dvc_s_writer_keeps_the_new_section(capsys, file):
    add(capsys, f"--from=examples/{file}", "mine")
    before = PARAMS.read_text().splitlines()
    apply_overrides(PARAMS, ["studies.mine.train.epochs=7"])
    after = PARAMS.read_text().splitlines()
    assert len(before) == len(after)
    (changed,) = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
    assert changed[1].split("#")[0].strip() == "epochs: 7"
    add(capsys, f"--from=examples/{file}", "second")  # what DVC wrote can be added to


def test_a_section_is_added_as_it_reads_whatever_its_editor_made_of_it(capsys, folder):
    """With a byte-order mark and Windows' line ends, and with a line end of Unicode's in a text."""
    text = (folder / "examples/own-pairs.yaml").read_text()
    text = text.replace("\n  source:", "\n  system: 'a\u2028b'\n  source:", 1)
    (folder / "mine.yaml").write_bytes(text.replace("\n", "\r\n").encode("utf-8-sig"))
    add(capsys, "--from=mine.yaml", "mine")
    assert b"\xef\xbb\xbf" not in PARAMS.read_bytes()
    added = load_yaml(PARAMS)["studies"]["mine"]
    assert added == load_yaml(folder / "mine.yaml")
    assert added["prepare"]["system"] == "a\u2028b"


@pytest.mark.parametrize("line", ["---", "--- # mine", "%YAML 1.2", "..."])
def test_a_line_that_is_no_part_of_a_section_is_named(folder, line):
    before = PARAMS.read_bytes()
    text = (folder / "examples/own-pairs.yaml").read_text()
    whole = f"{text}{line}\n" if line == "..." else f"{line}\n{text}"
    (folder / "mine.yaml").write_text(f"{line}\n---\n{text}" if "%" in line else whole)
    number = whole.split("\n").index(line) + 1
    with pytest.raises(UserError) as refused:
        new_study.main(["--from=mine.yaml", "mine"])
    assert refused.value.lines == [f"mine.yaml:{number}: {line!r}: no line of a section; remove it"]
    assert PARAMS.read_bytes() == before


def test_what_cannot_be_added_is_refused_and_nothing_is_written(capsys, folder):
    (folder / "wrong.yaml").write_text("prepare: {}\n")
    before = PARAMS.read_text()
    cases = {
        ("imdb",): "params.yaml: has a study 'imdb' already; choose another name, or edit it",
        ("a.b",): "examples/study.yaml as 'a.b': studies.a.b = 'a.b': must match",
        ("--from=none.yaml", "mine"): "none.yaml: no such file; must be 'examples/",
        ("--from=wrong.yaml", "mine"): "wrong.yaml as 'mine': studies.mine.prepare.source: missing",
    }
    for arguments, line in cases.items():
        with pytest.raises(UserError) as refused:
            new_study.main(list(arguments))
        assert refused.value.lines[0].startswith(line)
    PARAMS.write_text(before + "more: 1\n")
    with pytest.raises(UserError, match="more: unknown key"):
        new_study.main(["mine"])
    moved = before.replace("\nseed: 1", "").rstrip("\n") + "\nseed: 1\n"
    PARAMS.write_text(moved)
    with pytest.raises(UserError, match="only where `studies` comes last"):
        new_study.main(["mine"])
    assert PARAMS.read_text() == moved
    assert sorted(path.name for path in folder.iterdir()) == [
        "examples",
        "params.yaml",
        "wrong.yaml",
    ]
