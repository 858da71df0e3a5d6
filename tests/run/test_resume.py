"""fdpo.run.resume and partial_records: unfinished work is found again, whole, or not used."""

import contextlib
from pathlib import Path

import pytest
import yaml
from filelock import FileLock

from fdpo.core.errors import UserError
from fdpo.core.records import Prompt, dump
from fdpo.run import resume
from fdpo.run.partial_records import batch_by_batch

BATCHES = [[1, 2, 3], [4], [5, 6]]


def prompts(numbers: list[int]) -> list[Prompt]:
    return [Prompt(id=n, prompt=f"prompt {n}", role="train") for n in numbers]


def compute(path: Path, computed: list[int]) -> list[int]:
    """The ids of all records; those of the batches that had to be computed go to `computed`."""

    def work(batch: list[int]) -> list[Prompt]:
        computed.extend(batch)
        return prompts(batch)

    return [record.id for record in batch_by_batch(path, Prompt, BATCHES, work, "work")]


@pytest.mark.parametrize("kept", [None, 1, 100, 180, 10**6])
def test_whole_batches_are_not_computed_again(tmp_path, kept):
    path = tmp_path / "records"
    whole = "".join(map(dump, prompts([1, 2, 3, 4, 5, 6]))).encode()
    if kept is not None:
        path.write_bytes(whole[:kept])
    lines = whole[: kept or 0].count(b"\n")
    done = max(size for size in (0, 3, 4, 6) if size <= lines)
    computed: list[int] = []
    assert compute(path, computed) == [1, 2, 3, 4, 5, 6]
    assert computed == [1, 2, 3, 4, 5, 6][done:]
    assert path.read_bytes() == whole
    assert compute(path, again := []) == [1, 2, 3, 4, 5, 6]
    assert again == []


@pytest.fixture
def workspace(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    stage = {"deps": ["code", "pairs"], "params": ["beta", {"studies/${study}.yaml": ["train"]}]}
    Path("dvc.yaml").write_text(yaml.safe_dump({"stages": {"train": stage}}))
    Path("params.yaml").write_text("study: mine\nbeta: 0.3\nother: 1\n")
    Path("studies").mkdir()
    Path("studies/mine.yaml").write_text("train: {epochs: 1}\nevaluate: {}\n")
    Path("code").mkdir()
    Path("code/loss.py").write_text("a")
    Path("pairs").write_text("b")
    return tmp_path


def interrupted(*settings: object) -> Path:
    with contextlib.suppress(KeyboardInterrupt), resume.folder("train", *settings) as work:
        (work / "half").touch()
        raise KeyboardInterrupt
    return work


def test_work_is_kept_when_it_is_interrupted_and_removed_when_it_is_done(workspace):
    work = interrupted(0.3)
    with resume.folder("train", 0.3) as again:
        assert again == work
        assert (again / "half").exists()
    assert not work.exists()


def test_work_of_other_settings_data_or_code_is_not_picked_up(workspace):
    works = {interrupted(0.3), interrupted(0.5)}
    Path("code/loss.py").write_text("changed")
    works.add(interrupted(0.3))
    Path("code/new.py").write_text("")
    works.add(interrupted(0.3))
    Path("pairs").write_text("changed")
    works.add(interrupted(0.3))
    assert len(works) == 5
    Path("code/__pycache__").mkdir()
    Path("code/__pycache__/loss.pyc").touch()
    assert interrupted(0.3) in works


def test_two_processes_are_never_at_the_same_work(workspace):
    work = interrupted(0.3)
    with (
        FileLock(work.with_suffix(".lock")),
        pytest.raises(UserError, match="another process"),
        resume.folder("train", 0.3),
    ):
        pass


def test_a_stage_whose_study_changed_meanwhile_fails_and_keeps_its_work(workspace):
    path = Path("studies/mine.yaml")
    work = interrupted(0.3)
    with pytest.raises(UserError, match=r"studies/mine\.yaml"), resume.folder("train", 0.3):
        path.write_text(path.read_text().replace("epochs: 1", "epochs: 2"))
    assert work.exists()
