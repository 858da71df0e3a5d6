"""The whole of `dvc exp run -S loss=jsd`: wall and CPU seconds of each part.

Each round runs in a fresh clone of the last commit, with a copy of the cache but not of the run
cache, so DVC finds what the default run has made and no experiment. The clone's `python3` is a
script that starts stages as `python -m benchmarks.experiment -m stages.NAME`, which puts a clock
around their parts; nothing else differs from what a user runs.
"""

import functools
import importlib
import json
import os
import runpy
import shutil
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path

from benchmarks.measure import ROOT, Row, alone, note, run
from fdpo.core.errors import UserError

CACHE = Path(".dvc/cache/files")
COMMAND = ("dvc", "exp", "run", "-S", "loss=jsd")
TIMES = "BENCHMARK_TIMES"  # the folder that takes each stage's seconds

# Functions by the name through which they are called. One that is gone ends the benchmark, so no
# part can silently come out as nothing. What they call counts to its own part alone.
LOADING = ("fdpo.models.causal_lm:load_tokenizer", "fdpo.models.causal_lm:load_causal_lm")
PARTS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "stages.check": {},
    "stages.train": {
        "loading": (*LOADING, "fdpo.training.trainer:FDPOTrainer.__init__"),
        "training": ("fdpo.training.trainer:FDPOTrainer.train",),
    },
    "stages.evaluate": {
        "loading": (
            *LOADING,
            "fdpo.evaluation.policy:load_policy",
            "fdpo.evaluation.inputs:load_scorer",
            "fdpo.evaluation.inputs:load_judge",
        ),
        "sampling": ("fdpo.evaluation.evaluate_policy:decode_heldout",),
        "test pairs": ("fdpo.evaluation.evaluate_policy:measure_test_pairs",),
        "reference's samples": ("fdpo.evaluation.evaluate_policy:measure_reference_samples",),
        "divergences": ("fdpo.evaluation.evaluate_policy:diverge",),
        "scoring": ("fdpo.evaluation.evaluate_policy:scores_of",),
    },
}

Seconds = dict[str, float]  # wall and cpu


def rows(rounds: int, size: str) -> list[Row]:
    if size != "full":
        note("left out: it measures the committed pipeline, which is not small")
        return []
    if not (ROOT / CACHE).exists():
        raise UserError(f"{ROOT / CACHE}: missing; run `dvc repro` and commit first")
    splits = []
    for number in range(1, rounds + 1):
        with tempfile.TemporaryDirectory() as folder:
            splits.append(experiment(ROOT, Path(folder)))
        note(f"round {number}: {splits[-1]['whole']['wall']:.1f} s")
    return [
        alone(f"{' '.join(COMMAND)}: {part}", f"{clock} s", [one[part][clock] for one in splits])
        for part in splits[0]
        for clock in ("wall", "cpu")
    ]


def experiment(root: Path, folder: Path) -> dict[str, Seconds]:
    """Clone, check out and run; the seconds of each part of both stages together."""
    clone, times, programs = folder / "clone", folder / "times", folder / "bin"
    times.mkdir()
    programs.mkdir()
    python = programs / "python3"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} -m benchmarks.experiment "$@"\n')
    python.chmod(0o755)
    environment = {
        "PATH": os.pathsep.join(
            map(str, [programs, Path(sys.executable).parent, os.environ["PATH"]])
        ),
        "DVC_SITE_CACHE_DIR": str(folder / "site"),
        "DVC_NO_ANALYTICS": "1",
        TIMES: str(times),
    }
    run(["git", "clone", "--quiet", root, clone])
    shutil.copytree(root / CACHE, clone / CACHE)
    run(["dvc", "checkout"], clone, **environment)
    whole = run(COMMAND, clone, **environment)
    stages = {file.stem: json.loads(file.read_text()) for file in times.iterdir()}
    if set(stages) - {"check"} != {"train", "evaluate"}:
        raise UserError(f"{' '.join(COMMAND)}: ran {sorted(stages)}, not train and evaluate alone")
    return together({"wall": whole.wall, "cpu": whole.cpu}, list(stages.values()))


def together(whole: Seconds, stages: list[dict[str, Seconds]]) -> dict[str, Seconds]:
    """The parts of all stages, summed by name; DVC takes what is left of the whole."""
    parts: dict[str, Seconds] = {}
    for stage in stages:
        for part, seconds in stage.items():
            total = parts.setdefault(part, {"wall": 0.0, "cpu": 0.0})
            for clock in total:
                total[clock] += seconds[clock]
    dvc = {clock: whole[clock] - sum(part[clock] for part in parts.values()) for clock in whole}
    return {"whole": whole, "DVC": dvc, **parts}


class Clock:
    """Seconds of each part. A timed call within another counts to its own part alone."""

    def __init__(self) -> None:
        self.parts: dict[str, Seconds] = defaultdict(lambda: {"wall": 0.0, "cpu": 0.0})
        self._inner: list[Seconds] = [{"wall": 0.0, "cpu": 0.0}]  # spent in inner calls, by level

    def timed(self, part: str, function: Callable) -> Callable:
        @functools.wraps(function)
        def call(*args, **kwargs):
            self._inner.append({"wall": 0.0, "cpu": 0.0})
            start = now()
            try:
                return function(*args, **kwargs)
            finally:
                inner = self._inner.pop()
                for clock, end in now().items():
                    spent = end - start[clock]
                    self.parts[part][clock] += spent - inner[clock]
                    self._inner[-1][clock] += spent

        return call


def now() -> Seconds:
    return {"wall": time.perf_counter(), "cpu": time.process_time()}


def prepare(clock: Clock, name: str) -> None:
    """Import a stage's modules and put the clock around its parts."""
    importlib.import_module(name)
    for part, places in PARTS[name].items():
        for place in places:
            module, path = place.split(":")
            *owners, function = path.split(".")
            owner = functools.reduce(getattr, owners, importlib.import_module(module))
            setattr(owner, function, clock.timed(part, getattr(owner, function)))


def main() -> None:
    """Run a stage, and write its seconds: `python -m benchmarks.experiment -m stages.NAME`."""
    name = sys.argv[2]
    clock = Clock()
    clock.timed("imports", prepare)(clock, name)
    try:
        clock.timed("the rest", runpy.run_module)(name, run_name="__main__")
    finally:
        target = Path(os.environ[TIMES], f"{name.removeprefix('stages.')}.json")
        target.write_text(json.dumps(clock.parts))


if __name__ == "__main__":
    main()
