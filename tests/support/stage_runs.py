"""Real stages on a tiny finished workspace, each run in a process of its own in a fraction of a
second: forked from one that has imported the libraries."""

import hashlib
import multiprocessing
import os
import sys
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from tests.support import clone, embedded_fakes
from tests.support.settings import copy_settings

STAGES = ("check", "prepare", "generate", "score", "pair", "split", "train", "evaluate")
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(
    [
        *(f"stages.{stage}" for stage in STAGES),
        "fdpo.scoring.ridge",
        "fdpo.scoring.embedding",
        "fdpo.scoring.classifier",
    ]
)


@dataclass(frozen=True)
class Ended:
    """How a stage's process ended, and what it said on stderr."""

    code: int
    stderr: str


def run(stage: str, workspace: Path, **environment: str) -> Ended:
    """Run a stage as `python -m stages.STAGE` would be in `workspace`."""
    said = workspace.with_name(f"{workspace.name}.stderr")
    os.environ.setdefault(
        "PYTHONPATH", str(clone.ROOT)
    )  # the forks' parent begins without pytest's path
    process = _FORKS.Process(target=_run, args=(stage, workspace, said, environment))
    process.start()
    process.join(timeout=120)
    process.kill()  # nothing to a process that has ended
    return Ended(process.exitcode, said.read_text(encoding="utf-8"))


def _run(stage: str, workspace: Path, said: Path, environment: dict[str, str]) -> None:
    os.environ |= environment
    os.chdir(workspace)
    for stream, path in ((sys.stdout, os.devnull), (sys.stderr, said)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), stream.fileno())
    from fdpo.core import errors

    errors.run(import_module(f"stages.{stage}").main)


@dataclass(frozen=True)
class Workspace:
    """A folder that stages run in, and the environment for it."""

    folder: Path
    environment: dict[str, str]


def new_workspace(scratch: Path) -> Workspace:
    """A folder in which no stage has run yet, with a random model of 33,440 parameters to come."""
    packages = embedded_fakes.build(scratch / "packages")
    made = Workspace(scratch / "workspace", packages.environment)
    made.folder.mkdir()
    copy_settings(made.folder)
    clone.shrink(made.folder, packages)
    (made.folder / "user_data").mkdir()
    return made


def finished_workspace(scratch: Path) -> Workspace:
    """All stages' outputs."""
    made = new_workspace(scratch)
    for stage in STAGES:
        ended = run(stage, made.folder, **made.environment)
        assert ended.code == 0, f"{stage}: {ended.stderr}"
    return made


def digests(folder: Path) -> dict[str, str]:
    """The sha256 of every file below `folder`, unfinished work in .ckpt apart."""
    files = (path for path in folder.rglob("*") if path.is_file())
    named = {str(path.relative_to(folder)): path for path in files}
    return {
        name: hashlib.sha256(path.read_bytes()).hexdigest()
        for name, path in sorted(named.items())
        if not name.startswith(".ckpt/")
    }
