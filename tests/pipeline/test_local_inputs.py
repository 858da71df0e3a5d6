"""Local files of a study under DVC: the real stage `check`, and a quick stand-in for `prepare`."""

import json
import os
import re
import sys
from pathlib import Path

import pytest
import yaml

from tests.support import clone as cloning
from tests.support.clone import Clone
from tests.support.settings import ROOT, edited_study, set_knobs

pytestmark = pytest.mark.slow

# Reads what the study names, and writes it down, as `prepare` does at more length.
STAND_IN = """
import json
from pathlib import Path
from fdpo.core.local_files import local_files
named = json.loads(Path("data/inputs.json").read_text())
texts = [file.read_text() for path in named for file in local_files(path).values()]
Path("data/prompts.jsonl").write_text("".join(texts))
"""


@pytest.fixture(scope="module")
def clone(tmp_path_factory) -> Clone:
    """A study of untracked local files, whose first two stages have run."""
    made = cloning.working_copy(tmp_path_factory.mktemp("local"))
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    prepare = stages["prepare"] | {"cmd": "python3 stand_in.py", "outs": ["data/prompts.jsonl"]}
    pipeline = {"stages": {"check": stages["check"], "prepare": prepare}}
    (made.folder / "dvc.yaml").write_text(yaml.safe_dump(pipeline, sort_keys=False))
    (made.folder / "stand_in.py").write_text(STAND_IN)
    set_knobs(made.folder, study="imdb-published")
    with edited_study(made.folder, "imdb-published") as study:
        study["prepare"] |= {
            "reference": {"path": "user_data/model"},
            "pairs": {"path": "user_data/mine.jsonl"},
            "prompts": {"path": "user_data/mine.csv"},
        }
    with (made.folder / ".gitignore").open("a") as ignored:
        ignored.write("/user_data/model\n/user_data/mine.*\n/user_data/notes.txt\n")
    model = made.folder.parent / "elsewhere/model"
    model.mkdir(parents=True)
    (model / "config.json").write_text("{}\n")
    (made.folder / "user_data/model").mkdir()
    (made.folder / "user_data/model/config.json").symlink_to(model / "config.json")
    (made.folder / "user_data/mine.jsonl").write_text("pairs\n")
    (made.folder / "user_data/mine.csv").write_text("prompts\n")
    made.git("init", "--quiet", "--initial-branch=main")
    assert stages_run(made.dvc("repro")) == ["check", "prepare"]
    made.git("add", "--all")
    made.git("commit", "--quiet", "--message=run")
    return made


def stages_run(printed: str) -> list[str]:
    return re.findall(r"Running stage '(\w+)'", printed)


def test_editing_a_file_runs_what_depends_on_it_and_nothing_else(clone):
    assert stages_run(clone.dvc("repro")) == []
    (clone.folder / "user_data/notes.txt").write_text("named by no study\n")
    assert stages_run(clone.dvc("repro")) == ["check"]
    (clone.folder / "user_data/mine.csv").write_text("other prompts\n")
    assert stages_run(clone.dvc("repro")) == ["check", "prepare"]
    # A link in a model's folder is followed.
    target = os.readlink(clone.folder / "user_data/model/config.json")
    Path(target).write_text('{"changed": 1}\n')
    assert stages_run(clone.dvc("repro")) == ["check", "prepare"]
    assert b"other prompts" in clone.bytes("data/prompts.jsonl")
    assert b"changed" in clone.bytes("data/prompts.jsonl")
    named = json.loads(clone.bytes("data/inputs.json"))
    assert sorted(named) == ["user_data/mine.csv", "user_data/mine.jsonl", "user_data/model"]


def test_untracked_files_are_found_in_an_experiment_elsewhere_and_no_path_leaks(clone):
    clone.dvc("exp", "run", "--temp", "--name", "away", "-S", "seed=5")
    (commit,) = clone.git("for-each-ref", "--format=%(objectname)", "refs/exps/**/away").split()
    texts = [clone.git("show", f"{commit}:dvc.lock"), clone.bytes("dvc.lock").decode()]
    away, here = (yaml.safe_load(text)["stages"]["prepare"]["outs"] for text in texts)
    assert "seed: 5" in texts[0]
    assert away == here
    for text in (*texts, clone.bytes("data/inputs.json").decode()):
        assert str(clone.folder.parent) not in text


def test_a_file_that_dvc_would_not_watch_is_refused_in_one_line(clone):
    """A link within user_data/ that leads out of it."""
    (clone.folder / "user_data/link").symlink_to(clone.folder / "docs")
    with edited_study(clone.folder, "imdb-published") as named:
        named["prepare"]["pairs"]["path"] = "user_data/link/pairs.jsonl"
    refused = clone.run(sys.executable, "-m", "stages.check")
    clone.git("checkout", "studies")
    (clone.folder / "user_data/link").unlink()
    assert refused.returncode == 2
    (line,) = refused.stderr.splitlines()
    assert line.startswith("error: user_data/link/pairs.jsonl: DVC watches user_data/")
