"""The whole of `dvc exp run -S loss=jsd`: DVC, imports, loading, training, evaluation, saving.

Each round runs in a fresh clone of the last commit, with a copy of the cache but not of the run
cache, so DVC finds what the default run has made and no experiment. The clone's `python3` is a
script that puts a clock about the stages; nothing else differs from what a user runs.
"""

import json
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from benchmarks.measure import ROOT, Row, alone, note, run
from benchmarks.timed import TIMES
from fdpo.core.errors import UserError

LOCK = "dvc.lock"
CACHE = Path(".dvc/cache/files")
COMMAND = ("dvc", "exp", "run", "-S", "loss=jsd")

# What the parts that benchmarks.timed tells apart are summed to; DVC takes what is left.
KINDS = {
    "imports": ("imports",),
    "loading": ("loading",),
    "training": ("training",),
    "sampling": ("sampling",),
    "evaluation": ("test pairs", "divergence", "scoring", "metrics", "rest"),
    "saving": ("saving",),
}


def rows(rounds: int, root: Path = ROOT) -> list[Row]:
    """Measure the experiment in clones of the repository at `root`."""
    if not (root / LOCK).exists() or not (root / CACHE).exists():
        raise UserError(f"{root / LOCK}: missing; run `dvc repro` and commit before this benchmark")
    splits = []
    for number in range(1, rounds + 1):
        with tempfile.TemporaryDirectory() as folder:
            splits.append(split(*experiment(root, Path(folder))))
        note(f"round {number}: {splits[-1]['whole']:.1f} s")
    return [
        alone(f"{' '.join(COMMAND)}: {kind}", "wall s", [one[kind] for one in splits])
        for kind in splits[0]
    ]


def experiment(root: Path, folder: Path) -> tuple[float, list[dict[str, float]]]:
    """Clone, check out and run; the wall seconds and each stage's seconds a part."""
    clone, times, programs = folder / "clone", folder / "times", folder / "bin"
    times.mkdir()
    environment = {
        "PATH": path_with(programs),
        "DVC_SITE_CACHE_DIR": str(folder / "site"),
        "DVC_NO_ANALYTICS": "1",
        TIMES: str(times),
    }
    run(["git", "clone", "--quiet", root, clone])
    shutil.copytree(root / CACHE, clone / CACHE)
    run(["dvc", "checkout"], clone, **environment)
    measured = run(COMMAND, clone, **environment)
    parts = {file.stem: json.loads(file.read_text())["seconds"] for file in times.iterdir()}
    if set(parts) - {"check"} != {"train", "evaluate"}:
        raise UserError(f"{' '.join(COMMAND)}: ran {sorted(parts)}, not train and evaluate alone")
    return measured.wall, list(parts.values())


def path_with(programs: Path) -> str:
    """PATH with a `python3` that times the stage it is called for, then this environment's."""
    programs.mkdir()
    script = programs / "python3"
    script.write_text(f'#!/bin/sh\nexec {sys.executable} -m benchmarks.timed "$@"\n')
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return os.pathsep.join([str(programs), str(Path(sys.executable).parent), os.environ["PATH"]])


def split(whole: float, stages: list[Mapping[str, float]]) -> dict[str, float]:
    """Wall seconds a kind, what DVC and starting Python take, and what the target is about."""
    found = {
        kind: sum(stage.get(part, 0.0) for stage in stages for part in parts)
        for kind, parts in KINDS.items()
    }
    dvc = whole - sum(found.values())
    rest = whole - found["training"] - found["sampling"]
    return {"whole": whole, "DVC": dvc, **found, "neither training nor sampling": rest}
