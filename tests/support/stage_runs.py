"""Real stages on a tiny workspace, each in a process forked from one with the libraries loaded."""

import hashlib
import multiprocessing
import os
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from filelock import FileLock

from tests.support import embedded_fakes
from tests.support.settings import ROOT, copy_settings, edited_study, set_knobs

STAGES = ("check", "prepare", "generate", "score", "pair", "split", "train", "evaluate")
_FORKS = multiprocessing.get_context("forkserver")
_LOADED_LATE = ("ridge", "embedding", "classifier")
_FORKS.set_forkserver_preload(
    [*(f"stages.{name}" for name in STAGES), *(f"fdpo.scoring.{name}" for name in _LOADED_LATE)]
)


@dataclass(frozen=True)
class Ended:
    """How a stage's process ended, and what it printed."""

    code: int
    stdout: str
    stderr: str


def run(
    stage: str, workspace: Path, killed_when: Callable[[], bool] | None = None, **environment: str
) -> Ended:
    """Run a stage as `python -m stages.STAGE` would be in `workspace`, to its end or its death."""
    said = [workspace.with_name(f"{workspace.name}.{stream}") for stream in ("stdout", "stderr")]
    # The forks' parent begins without pytest's path.
    os.environ.setdefault("PYTHONPATH", str(ROOT))
    process = _FORKS.Process(target=_run, args=(stage, workspace, said, environment))
    process.start()
    while killed_when and process.is_alive() and not killed_when():
        time.sleep(0.001)
    process.join(timeout=0 if killed_when else 600)
    process.kill()  # nothing to a process that has ended
    process.join()
    return Ended(process.exitcode, *(path.read_text(encoding="utf-8") for path in said))


def run_all(stages: tuple[str, ...], workspace: Path, **environment: str) -> None:
    """Run stages that must succeed."""
    for stage in stages:
        ended = run(stage, workspace, **environment)
        assert ended.code == 0, f"{stage}: {ended.stderr}"


def _run(stage: str, workspace: Path, said: list[Path], environment: dict[str, str]) -> None:
    os.environ |= environment
    os.chdir(workspace)
    for stream, path in zip((sys.stdout, sys.stderr), said, strict=True):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), stream.fileno())
    from fdpo.core import errors

    errors.run(import_module(f"stages.{stage}").main)


@dataclass(frozen=True)
class Workspace:
    """A folder that stages run in, and the environment for it."""

    folder: Path
    environment: dict[str, str]


def finished_workspace(scratch: Path) -> Workspace:
    """The study embedded with stand-ins of its packages, few prompts and tokens, and a random model
    of 33,440 parameters, after all stages.

    It is made once in a test run and copied into `scratch`, a folder of pytest's.
    """
    base = scratch.parent.parent if "PYTEST_XDIST_WORKER" in os.environ else scratch.parent
    made, packages = base / "finished", base / "packages"
    environment = embedded_fakes.pip_environment(packages)
    with FileLock(f"{made}.lock"):
        if not (made / "results/metrics.json").exists():
            (made / "user_data").mkdir(parents=True)
            copy_settings(made)
            fakes = embedded_fakes.build(packages)
            set_knobs(made, study="embedded", loss="sigmoid", beta=0.1, lr="auto")
            with edited_study(made) as study:
                study["prepare"]["model"]["sha256"] = fakes.model_sha256
                study["prepare"]["snippets"]["sha256"] = fakes.snippets_sha256
                study["prepare"]["judge"]["sha256"] = fakes.judge_sha256
                study["prepare"] |= {"train_prompts": 10, "heldout_prompts": 8}
                study["generate"]["train"]["max_new_tokens"] = 8
                study["generate"]["heldout"]["max_new_tokens"] = 8
                # A shape of the tests' own, so that the default study's may change.
                study["pair"]["ranks"] = [[1, 4], [1, 5], [1, 6], [2, 6], [3, 6], [4, 6]]
                study["split"]["test_size"] = 0.2
                study["train"] |= {"epochs": 2, "pairs_per_step": 12}
                study["evaluate"]["distinct_budget"] = 50
            run_all(STAGES, made, **environment)
    shutil.copytree(made, scratch / "workspace")
    return Workspace(scratch / "workspace", environment)


def digests(folder: Path) -> dict[str, str]:
    """The sha256 of every file below `folder`, unfinished work in .ckpt apart."""
    files = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    return {
        name: hashlib.sha256(path.read_bytes()).hexdigest()
        for name, path in sorted(files.items())
        if not name.startswith(".ckpt/")
    }
