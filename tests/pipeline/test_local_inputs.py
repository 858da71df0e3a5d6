"""Local files of a study under DVC: the real stage `check`, and a quick stand-in for `prepare`."""

import json
import os
import re
import sys
from pathlib import Path

import pytest
import yaml

from fdpo.core.local_files import SWEEP_FOLDER
from tests.support import clone as cloning
from tests.support.clone import Clone

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
    stages = yaml.safe_load((cloning.ROOT / "dvc.yaml").read_text())["stages"]
    check, prepare = stages["check"], stages["prepare"]
    prepare |= {"cmd": "python3 stand_in.py", "outs": ["data/prompts.jsonl"]}
    pipeline = {"stages": {"check": check, "prepare": prepare}}
    (made.folder / "dvc.yaml").write_text(yaml.safe_dump(pipeline, sort_keys=False))
    (made.folder / "stand_in.py").write_text(STAND_IN)
    params = yaml.safe_load((cloning.ROOT / "params.yaml").read_text())
    study = params["studies"]["imdb-published"]
    study["prepare"] |= {
        "reference": {"path": "inputs/model"},
        "pairs": {"path": "inputs/pairs.jsonl"},
        "prompts": {"path": "inputs/prompts.csv"},
    }
    params |= {"study": "mine", "studies": {"mine": study}}
    (made.folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    (made.folder / ".gitignore").open("a").write("/inputs/*\n!/inputs/README.md\n")
    made.git("init", "--quiet", "--initial-branch=main")
    made.git("add", "--all")
    made.git("commit", "--quiet", "--message=start")
    model = made.folder.parent / "elsewhere/model"
    model.mkdir(parents=True)
    (model / "config.json").write_text("{}\n")
    (made.folder / "inputs/model").mkdir()
    (made.folder / "inputs/model/config.json").symlink_to(model / "config.json")
    (made.folder / "inputs/pairs.jsonl").write_text("pairs\n")
    (made.folder / "inputs/prompts.csv").write_text("prompts\n")
    assert stages_run(made.dvc("repro")) == ["check", "prepare"]
    made.git("add", "--all")
    made.git("commit", "--quiet", "--message=run")
    return made


def stages_run(printed: str) -> list[str]:
    return re.findall(r"Running stage '(\w+)'", printed)


def test_editing_a_file_runs_what_depends_on_it_and_nothing_else(clone):
    assert stages_run(clone.dvc("repro")) == []
    (clone.folder / "inputs/notes.txt").write_text("named by no study\n")
    assert stages_run(clone.dvc("repro")) == ["check"]
    (clone.folder / "inputs/prompts.csv").write_text("other prompts\n")
    assert stages_run(clone.dvc("repro")) == ["check", "prepare"]
    assert b"other prompts" in clone.bytes("data/prompts.jsonl")
    # A link in a model's folder is followed.
    target = os.readlink(clone.folder / "inputs/model/config.json")
    Path(target).write_text('{"changed": 1}\n')
    assert stages_run(clone.dvc("repro")) == ["check", "prepare"]
    assert "up to date" in clone.dvc("status")
    (clone.folder / "inputs/notes.txt").unlink()
    assert stages_run(clone.dvc("repro")) == ["check"]
    named = json.loads(clone.bytes("data/inputs.json"))
    assert sorted(named) == ["inputs/model", "inputs/pairs.jsonl", "inputs/prompts.csv"]


def test_untracked_files_are_found_in_an_experiment_elsewhere_and_no_path_leaks(clone):
    clone.dvc("repro")
    expected = clone.bytes("data/prompts.jsonl")
    assert clone.git("ls-files", "inputs").split() == ["inputs/README.md"]
    clone.dvc("exp", "run", "--temp", "--name", "away", "-S", "seed=5")
    (commit,) = clone.git("for-each-ref", "--format=%(objectname)", "refs/exps/**/away").split()
    lock = clone.git("show", f"{commit}:dvc.lock")
    assert "seed: 5" in lock
    recorded, ours = (
        {out["path"]: out["md5"] for out in yaml.safe_load(text)["stages"][stage]["outs"]}
        for text in (lock, clone.bytes("dvc.lock").decode())
        for stage in ["prepare"]
    )
    assert recorded == ours
    assert clone.bytes("data/prompts.jsonl") == expected
    for text in (lock, clone.bytes("dvc.lock").decode(), clone.bytes("data/inputs.json").decode()):
        assert str(clone.folder.parent) not in text


def test_untracked_files_are_found_in_the_private_clone_of_a_sweep(clone):
    clone.dvc("repro")
    private = clone.folder / ".dvc/tmp/sweeps/0/1"
    clone.git("clone", "--quiet", "--shared", ".", str(private))
    sweep = Clone(private, clone.environment | {SWEEP_FOLDER: str(clone.folder)})
    sweep.dvc("repro", "--force")
    for path in ("data/inputs.json", "data/prompts.jsonl"):
        assert sweep.bytes(path) == clone.bytes(path)
    alone = Clone(private, clone.environment)
    refused = alone.run(sys.executable, "-m", "stages.check")
    assert refused.returncode == 2
    first, _ = refused.stderr.splitlines()
    assert first.startswith("error: inputs/model: missing or empty; name a file or folder")


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("/data/pairs.jsonl", "/data/pairs.jsonl: must be a path within this folder, as dvc.lock"),
        ("../pairs.jsonl", "../pairs.jsonl: must be a path within this folder, as dvc.lock, which"),
        ("docs/pairs.jsonl", "docs/pairs.jsonl: DVC does not watch it; move it to inputs/, and"),
        ("inputs/link/pairs.jsonl", "inputs/link: a link to a folder, which DVC does not watch;"),
    ],
)
def test_a_file_that_dvc_would_not_watch_is_refused_in_one_line(clone, path, problem):
    link = clone.folder / "inputs/link"
    if not link.is_symlink():
        link.symlink_to(clone.folder / "docs")
    params = clone.bytes("params.yaml")
    named = yaml.safe_load(params)
    named["studies"]["mine"]["prepare"]["pairs"]["path"] = path
    (clone.folder / "params.yaml").write_text(yaml.safe_dump(named))
    try:
        refused = clone.run(sys.executable, "-m", "stages.check")
    finally:
        (clone.folder / "params.yaml").write_bytes(params)
        link.unlink()
    assert refused.returncode == 2
    first, restore = refused.stderr.splitlines()
    assert first.startswith(f"error: {problem}")
    assert "no output was removed" in restore
