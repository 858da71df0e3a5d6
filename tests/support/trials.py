"""Stages that are killed and started again, in processes forked from one that has imported them.

Importing PyTorch and TRL takes some 10 s of a core and is no part of a stage's work: a server
(multiprocessing's own) imports them once, and each start of a stage is a fork of it.
"""

import contextlib
import importlib
import multiprocessing
import os
import random
import shutil
import signal
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from fdpo.run import locks, resume
from fdpo.training import checkpoints
from tests.support.clone import Clone

OUTPUTS = {
    "generate": ["data/generations.jsonl"],
    "train": ["models/policy", "results/train"],
    "evaluate": ["results/evaluate", "results/metrics.json"],
}
SIGNALS = {"SIGKILL": signal.SIGKILL, "SIGTERM": signal.SIGTERM, "SIGINT": signal.SIGINT}
KEY = "[0-9a-f]" * 16
# Python's audit events of what changes a disk; `open` where it is for writing.
OPERATIONS = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "open"}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
ATTEMPTS = 20  # to kill a stage before it is done
STAGES = ["check", "prepare", "generate", "score", "pair", "split", "train", "evaluate"]

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload([*(f"stages.{stage}" for stage in STAGES), "dvc.repo"])


def run_stage(
    name: str,
    folder: str,
    environment: dict[str, str],
    log: str,
    spacing: int | None,
    last_operation: int | None = None,
) -> None:
    os.chdir(folder)
    os.environ.update(environment)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    checkpoints.SPACING = spacing or checkpoints.SPACING
    if last_operation:
        die_at(last_operation, folder)
    locks.run(name, importlib.import_module(f"stages.{name}").main)


def die_at(number: int, folder: str) -> None:
    """Kill this process when it is about to change the disk in `folder` for the `number`th time."""
    seen = 0

    def count(event: str, arguments: tuple) -> None:
        nonlocal seen
        if event not in OPERATIONS or (event == "open" and not arguments[2] & WRITING):
            return
        if isinstance(arguments[0], str | os.PathLike):
            path = os.path.abspath(arguments[0])
            if not path.startswith(folder):
                return
        seen += 1
        if seen == number:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)


@dataclass
class Workspace:
    """A folder in which stages run, as DVC would run them.

    `spacing` takes the place of `checkpoints.SPACING`: a training of seconds would else have one.
    """

    folder: Path
    environment: dict[str, str]
    spacing: int | None = 2
    expected: dict[str, dict[str, bytes]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def unfinished(self) -> Path:
        return self.folder / ".ckpt"

    @property
    def log(self) -> Path:
        return self.folder.parent / f"{self.folder.name}.log"

    def clear(self, stage: str) -> None:
        for output in OUTPUTS.get(stage, []):
            path = self.folder / output
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)

    def start(self, stage: str, last_operation: int | None = None) -> multiprocessing.Process:
        """Start a stage after removing its outputs, which DVC does too."""
        self.clear(stage)
        own = (str(self.folder), self.environment, str(self.log), self.spacing, last_operation)
        process = SERVER.Process(target=run_stage, args=(stage, *own))
        process.start()
        return process

    def finish(self, stage: str) -> str:
        """Run a stage, which must succeed, to its end; return what it printed."""
        process = self.start(stage)
        process.join()
        printed = self.log.read_text(encoding="utf-8", errors="replace")
        assert process.exitcode == 0, f"{stage} ended with {process.exitcode}: {printed}"
        return printed

    def written(self, stage: str) -> dict[str, bytes]:
        """The files of a stage's outputs."""
        found = {}
        for output in OUTPUTS[stage]:
            path = self.folder / output
            for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
                if file.is_file():
                    found[str(file.relative_to(self.folder))] = file.read_bytes()
        return found

    def learn(self, stage: str) -> None:
        """Run a stage to its end: what every later run must give, and how long it takes."""
        begun = time.monotonic()
        self.finish(stage)
        self.seconds[stage] = time.monotonic() - begun
        self.expected[stage] = self.written(stage)


def prepared(clone: Clone) -> Workspace:
    """A workspace of tiny models whose stages have run once, uninterrupted, in small batches."""
    path = clone.folder / "params.yaml"
    params = yaml.safe_load(path.read_text(encoding="utf-8"))
    study = params["studies"]["embedded"]
    study["generate"]["prompts_per_batch"] = study["evaluate"]["prompts_per_batch"] = 1
    study["train"]["epochs"] = 8
    path.write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")
    workspace = Workspace(clone.folder, clone.environment)
    for stage in STAGES:
        workspace.finish(stage)
    for stage in OUTPUTS:
        workspace.learn(stage)
    return workspace


@dataclass(frozen=True)
class Outcome:
    """One trial: when the stage was killed, and whether its work went on."""

    stage: str
    signal: str
    after: float  # seconds
    had: str  # what was unfinished in .ckpt when it was killed
    went_on: bool


def trial(workspace: Workspace, stage: str, name: str, draws: random.Random) -> Outcome:
    """Kill a stage at a random moment, run it again, and compare what it wrote, byte by byte."""
    for _ in range(ATTEMPTS):
        after = draws.uniform(0, workspace.seconds[stage])
        process = workspace.start(stage)
        time.sleep(after)
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, SIGNALS[name])
        process.join()
        if process.exitcode != 0:  # else it was done before the signal came
            break
    else:
        raise AssertionError(f"{stage}: {name} did not end it in {ATTEMPTS} attempts")
    had = unfinished(workspace.unfinished, stage)
    went_on = finish_alike(workspace, stage, had)
    assert went_on == bool(had), f"{stage}: had {had!r} but did not go on"
    return Outcome(stage, name, after, had, went_on)


def finish_alike(workspace: Workspace, stage: str, had: str) -> bool:
    """Run a stage to its end and compare every byte; return whether it went on from something."""
    printed = workspace.finish(stage)
    wrote, wanted = workspace.written(stage), workspace.expected[stage]
    different = [path for path in wrote | wanted if wrote.get(path) != wanted.get(path)]
    assert not different, f"{stage}: other bytes in {different} after {had}"
    assert not any(workspace.unfinished.iterdir()), f"{stage}: unfinished work was left"
    return "goes on" in printed


def operation_trial(workspace: Workspace, stage: str, draws: random.Random) -> Outcome:
    """Kill a stage at one of the operations by which it changes the disk, and run it again."""
    most = 200
    while True:
        number = draws.randint(1, most)
        process = workspace.start(stage, number)
        process.join()
        if process.exitcode != 0:
            break
        most = number  # it has fewer
    had = unfinished(workspace.unfinished, stage)
    went_on = finish_alike(workspace, stage, had)
    assert went_on == bool(had), f"{stage}: had {had!r} but did not go on"
    return Outcome(stage, "SIGKILL at an operation", number, had, went_on)


def damage_trial(workspace: Workspace, stage: str, draws: random.Random) -> Outcome:
    """Damage one file of what a killed stage left, in some way, and run the stage again."""
    files: list[Path] = []
    while not files:
        process = workspace.start(stage)
        time.sleep(draws.uniform(0.3, 1) * workspace.seconds[stage])
        process.kill()
        process.join()
        works = workspace.unfinished.glob(f"{stage}-{KEY}")
        left = [path for work in works for path in work.rglob("*") if path.is_file()]
        files = sorted(p for p in left if p.stat().st_size and "writing" not in p.parts)
    damaged = draws.choice(files)
    kind = draws.choice(sorted(DAMAGES))
    DAMAGES[kind](damaged, draws)
    had = f"{damaged.parent.name}/{damaged.name}"
    return Outcome(stage, f"{kind} in its work", 0, had, finish_alike(workspace, stage, had))


def flip_bit(path: Path, draws: random.Random) -> None:
    content = bytearray(path.read_bytes())
    content[draws.randrange(len(content))] ^= 1 << draws.randrange(8)
    path.write_bytes(content)


def cut_short(path: Path, draws: random.Random) -> None:
    os.truncate(path, draws.randrange(path.stat().st_size))


def repeat_line(path: Path, draws: random.Random) -> None:
    content = path.read_bytes()
    path.write_bytes(content + draws.choice(content.splitlines(keepends=True)))


def change_digit(path: Path, draws: random.Random) -> None:
    content = bytearray(path.read_bytes())
    digits = [place for place, byte in enumerate(content) if byte in b"0123456789"]
    if digits:
        place = draws.choice(digits)
        content[place] = ord("0") + (content[place] - ord("0") + 1) % 10
        path.write_bytes(content)


def remove(path: Path, _draws: random.Random) -> None:
    path.unlink()


DAMAGES = {
    "a flipped bit": flip_bit,
    "a cut": cut_short,
    "a repeated line": repeat_line,
    "another digit": change_digit,
    "a missing file": remove,
}


def unfinished(folder: Path, stage: str) -> str:
    """What an interrupted stage left to go on with, in words; empty when nothing.

    A stage that had finished has it too, until its outputs are in DVC's cache.
    """
    resume.remove_finished(folder)
    works = [*folder.glob(f"{stage}-{KEY}"), *folder.glob(f"{stage}-{KEY}{resume.FINISHED}")]
    steps = sorted(int(path.name[11:]) for work in works for path in work.glob("checkpoint-*"))
    assert len(steps) <= 3  # two, and one about to be removed
    lines = sum(path.read_bytes().count(b"\n") for work in works for path in work.glob("*.jsonl"))
    return f"step {steps[-1]}" if steps else f"{lines} records" if lines else ""
