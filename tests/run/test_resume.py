"""fdpo.run.resume and partial_records: unfinished work is found again, whole, or not used."""

import hashlib
import random
from pathlib import Path

import pytest
import yaml

from fdpo.core.records import Prompt, dump
from fdpo.run import resume
from fdpo.run.partial_records import PartialRecords, batch_by_batch
from fdpo.run.resume import FINISHED

BATCHES = [[1, 2, 3], [4], [5, 6]]


def prompts(numbers: list[int]) -> list[Prompt]:
    return [Prompt(id=n, prompt=f"prompt {n}", role="train") for n in numbers]


def compute(path: Path, computed: list[int]) -> list[int]:
    """The ids of all records; those of the batches that had to be computed go to `computed`."""

    def work(batch: list[int]) -> list[Prompt]:
        computed.extend(batch)
        return prompts(batch)

    return [record.id for record in batch_by_batch(path, Prompt, BATCHES, work, "work")]


def interrupted(path: Path, batches: int) -> bytes:
    partial = PartialRecords(path, [len(batch) for batch in BATCHES])
    for batch in BATCHES[:batches]:
        partial.append(prompts(batch))
    return path.read_bytes()


@pytest.mark.parametrize(("done", "left"), [(0, [1, 2, 3, 4, 5, 6]), (2, [5, 6]), (3, [])])
def test_whole_batches_are_not_computed_again(tmp_path, done, left):
    path, computed = tmp_path / "records", []
    interrupted(path, done)
    assert compute(path, computed) == [1, 2, 3, 4, 5, 6]
    assert computed == left
    again = []
    assert compute(path, again) == [1, 2, 3, 4, 5, 6]
    assert again == []


@pytest.mark.parametrize("kept", [1, 30, 100, 180, 215])
def test_a_batch_cut_short_is_computed_again_without_a_word(tmp_path, capsys, kept):
    path = tmp_path / "records"
    path.write_bytes(interrupted(path, 2)[:kept])
    assert compute(path, []) == [1, 2, 3, 4, 5, 6]
    assert "damaged" not in capsys.readouterr().out


def flip(content: bytes, draws: random.Random) -> bytes:
    place = draws.randrange(len(content))
    return (
        content[:place] + bytes([content[place] ^ 1 << draws.randrange(8)]) + content[place + 1 :]
    )


def repeat(content: bytes, draws: random.Random) -> bytes:
    lines = content.splitlines(keepends=True)
    return b"".join([*lines, draws.choice(lines)])


def lose(content: bytes, draws: random.Random) -> bytes:
    lines = content.splitlines(keepends=True)
    del lines[draws.randrange(len(lines) - 1)]
    return b"".join(lines)


def swap(content: bytes, draws: random.Random) -> bytes:
    lines = content.splitlines(keepends=True)
    first = draws.randrange(len(lines) - 1)
    lines[first : first + 2] = reversed(lines[first : first + 2])
    return b"".join(lines)


def change_digit(content: bytes, draws: random.Random) -> bytes:
    return content.replace(b"prompt 2", b"prompt 9")


@pytest.mark.parametrize("damage", [flip, repeat, lose, swap, change_digit])
def test_damaged_records_are_computed_again(tmp_path, capsys, damage):
    draws = random.Random(0)  # noqa: S311 - damages, not secrets
    path = tmp_path / "records"
    for _ in range(20):
        path.unlink(missing_ok=True)
        whole = interrupted(path, 2)
        path.write_bytes(damage(whole, draws))
        assert compute(path, []) == [1, 2, 3, 4, 5, 6]
        assert PartialRecords(path, [3, 1, 2]).batches_done == 3
        stored = [line.split(b" ", 1)[1].decode() for line in path.read_bytes().splitlines()]
        assert stored == [dump(record).rstrip("\n") for record in prompts([1, 2, 3, 4, 5, 6])]
    assert "is damaged; its undamaged beginning is used" in capsys.readouterr().out


@pytest.fixture
def repository(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    stages = {"work": {"deps": ["data"], "outs": ["out"]}, "next": {"deps": ["out"]}}
    Path("dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))
    Path("data").write_text("data")
    return tmp_path


def into_cache(*files: str, cache: str = ".dvc/cache") -> None:
    """As DVC keeps the content of files."""
    for file in files:
        content = Path(file).read_bytes()
        md5 = hashlib.md5(content).hexdigest()  # noqa: S324 - DVC's choice
        target = Path(cache, "files/md5", md5[:2], md5[2:])
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)


def finish() -> None:
    with resume.folder("work", 1) as work:
        (work / "step").write_text("done")
        Path("out").mkdir(exist_ok=True)
        Path("out/a").write_text("a")
        Path("out/b").write_text("b")


def finished() -> list[Path]:
    return list(Path(".ckpt").glob(f"work-*{FINISHED}"))


def test_finished_work_is_there_until_all_outputs_are_in_the_cache(repository):
    finish()
    into_cache("out/a")
    with resume.folder("next"):
        pass
    assert len(finished()) == 1
    with resume.folder("work", 1) as work:  # killed before DVC had taken the outputs
        assert (work / "step").read_text() == "done"
    into_cache("out/b")
    with resume.folder("next"):
        assert finished() == []
    with resume.folder("work", 1) as work:
        assert not (work / "step").exists()


def test_the_cache_is_where_the_configuration_says(repository):
    (repository / ".dvc").mkdir()
    (repository / ".dvc/config").write_text("[core]\n    analytics = false\n")
    (repository / ".dvc/config.local").write_text("[cache]\n    dir = ../elsewhere\n")
    finish()
    into_cache("out/a", "out/b", cache="elsewhere")
    resume.remove_finished(Path(".ckpt"))
    assert finished() == []


def test_work_whose_outputs_are_nowhere_does_not_pile_up(repository):
    for number in range(9):
        with resume.folder("work", number):
            Path("out").write_text(str(number))
    with resume.folder("next"):
        pass
    assert len(finished()) == resume.KEPT


def test_without_dvc_nothing_is_kept(repository, monkeypatch):
    monkeypatch.delenv("DVC_ROOT")
    finish()
    assert list(Path(".ckpt").iterdir()) == []


def test_another_setting_input_library_or_device_is_other_work(repository, monkeypatch):
    def key() -> str:
        with resume.folder("work", 1) as work:
            return work.name

    keys = [key()]
    (repository / "data").write_text("other")
    keys.append(key())
    version = resume.importlib.metadata.version
    monkeypatch.setattr("importlib.metadata.version", lambda name: f"{version(name)}.post1")
    keys.append(key())
    with resume.folder("work", 2) as work:
        keys.append(work.name)
    assert len(set(keys)) == 4
