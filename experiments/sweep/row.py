"""One row: in a private clone of a commit, `dvc exp run`, and the numbers that came of it.

The folder it is started in may be edited meanwhile, and rows run side by side. Run twice, a row
gives the same: DVC's run cache has what the first run made.
"""

import csv
import json
import math
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from experiments.programs import call, last_error, processor
from experiments.sweep.results import ReferenceResults, RowResults, row_file, write_row
from experiments.sweep.spec import RowSpec, load
from fdpo.core.errors import UserError
from fdpo.core.files import read_json
from fdpo.core.local_files import SWEEP_FOLDER
from fdpo.core.records import HeldoutSamples, SamplesOfPrompt, read
from stages import paths

UNFINISHED = ".ckpt"  # of fdpo.run.resume, which is slow to import
SCRATCH = Path(".dvc/tmp/sweeps")  # DVC keeps its tmp out of Git
DATA_STAGE = "split"  # the last stage that is the same for all rows with the same data
SCORES = ("reward", "judge", "kl", "entropy")  # of a sample; nats per completion and per token
SCORE_DECIMALS = 4
KEPT_SAMPLES = 3  # prompts whose texts go into the results
SOURCES = (paths.DATA, paths.REFERENCE_MODEL, paths.REWARD_MODEL, paths.JUDGE_MODEL)
PACKAGES = ("torch", "transformers", "trl", "peft", "dvc")  # that numbers depend on


@contextmanager
def private_clone(commit: str, name: str = "clone") -> Iterator[Path]:
    """A clone of the repository here, at `commit`, fetched if need be; removed at the end."""
    if not call("git", "cat-file", "-t", commit, check=False):
        call("git", "fetch", "--quiet", "origin")
    SCRATCH.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f"{name}-", dir=SCRATCH.absolute()) as folder:
        call("git", "clone", "--quiet", "--shared", "--no-checkout", ".", folder)
        call("git", "checkout", "--quiet", "--detach", commit, cwd=folder)
        yield Path(folder)


def run_row(options: Namespace) -> None:
    """Run one row of a sweep and write its results, unless they are there.

    Args:
        options: of the command `row`. With `data` the row's pairs go into DVC's cache and there are
            no results; `push` reads DVC's remote, and pushes there and to Git's `origin`; `force`
            runs every stage in any case. Where the process `parent` has gone, the row ends.
    """
    sweep, name, commit = options.sweep, options.row, options.commit
    with private_clone(commit, name) as clone:
        rows = {row.name: row for row in load(sweep, clone)}
        if name not in rows:
            raise UserError(f"row {name!r}: not in {sweep}; there are {', '.join(rows)}")
        row = rows[name]
        if not (options.data or options.force) and row.is_done(commit):
            return
        equip(clone)
        log = SCRATCH / sweep / f"{name}{'-data' * options.data}.log"
        log.parent.mkdir(exist_ok=True)
        log.write_text("")
        dvc = partial(run_dvc, clone, log, options.parent)
        asked = ["--pull"] * options.push + ["--force"] * options.force
        asked += [f"--set-param={setting}" for setting in row.settings]
        started = time.monotonic()
        dvc("exp", "run", "--name", row.experiment, *asked, *[DATA_STAGE] * options.data)
        if options.data:
            if options.push:
                dvc("push", "--run-cache", "--with-deps", DATA_STAGE)
            return
        ref = f"refs/exps/{commit[:2]}/{commit[2:]}/{row.experiment}"
        made = {
            "commit": commit,
            "experiment": call("git", "rev-parse", "--verify", ref, cwd=clone),
            "seconds": round(time.monotonic() - started, 1),
            "python": platform.python_version(),
            "packages": {name: version(name) for name in PACKAGES},
            "processor": processor(),
            "machine": f"{os.cpu_count()} cores, OMP_NUM_THREADS={os.getenv('OMP_NUM_THREADS')}",
        }
        call("git", "fetch", "--quiet", "--no-write-fetch-head", str(clone), f"+{ref}:{ref}")
        if options.push:
            origin = call("git", "remote", "get-url", "origin")
            call("git", "remote", "set-url", "origin", origin, cwd=clone)
            dvc("exp", "push", "--force", "origin", row.experiment)
        write_row(row_file(sweep, name), *collect(clone, row, made))


def equip(clone: Path) -> None:
    """Give a private clone the cache and the unfinished work of the working directory.

    The committed dvc.lock is left out: it may be of a machine whose last digits differ. Where a
    stage's inputs are as it says, DVC would look for its outputs alone and run the stage for every
    row, though the run cache has what the first row made.
    """
    (clone / "dvc.lock").unlink(missing_ok=True)
    with suppress(FileNotFoundError):
        (clone / ".dvc/config.local").write_bytes(Path(".dvc/config.local").read_bytes())
    cache = Path(call(sys.executable, "-m", "dvc", "cache", "dir")).absolute()
    call(sys.executable, "-m", "dvc", "cache", "dir", "--local", str(cache), cwd=clone)
    Path(UNFINISHED).mkdir(exist_ok=True)
    (clone / UNFINISHED).symlink_to(Path(UNFINISHED).absolute())


def run_dvc(clone: Path, log: Path, parent: int | None, *arguments: str) -> None:
    """Run DVC in a clone, in a session that ends with it; if it fails, exit with its error."""
    own = {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        SWEEP_FOLDER: str(Path.cwd()),
        "DVC_SITE_CACHE_DIR": str(clone / ".dvc/tmp/site"),  # goes with the clone
    }
    command = [sys.executable, "-m", "dvc", *arguments]
    with log.open("ab") as out:
        process = subprocess.Popen(
            command, cwd=clone, env=os.environ | own, stdout=out, stderr=out, start_new_session=True
        )
        try:
            while process.poll() is None:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(timeout=1)
                if parent is not None and os.getppid() != parent:
                    sys.exit("the process that waited for this row has gone")
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    if process.returncode:
        said = last_error(log.read_text(encoding="utf-8", errors="replace"))
        sys.exit(f"{said} ({platform.node()}:{log})")


def collect(clone: Path, row: RowSpec, made: dict[str, Any]) -> tuple[RowResults, ReferenceResults]:
    """The numbers of the row that ran in `clone`, a few of its samples, and its reference's."""
    samples = list(read(clone / paths.SAMPLES, HeldoutSamples))
    reference = ReferenceResults(
        prompts=[prompt.id for prompt in samples],
        reward=_scores(samples, "reference", "reward") or [],
        judge=_scores(samples, "reference", "judge"),
        baselines=read_json(clone / paths.REFERENCE_BASELINES),
    )
    shown = [SamplesOfPrompt.model_validate(x.model_dump(), extra="ignore") for x in samples]
    sources = {folder.name: clone / folder / "source.json" for folder in SOURCES}
    folder = clone / paths.CURVE_FOLDER
    curves = {str(file.relative_to(folder).with_suffix("")): file for file in folder.rglob("*.tsv")}
    pairs = {"train_pairs": paths.TRAIN_PAIRS, "test_pairs": paths.TEST_PAIRS}
    content = {
        "study": row.study,
        "params": row.params.model_dump(),
        "metrics": read_json(clone / paths.METRICS_WITH_INTERVALS),
        "calibration": read_json(clone / paths.CALIBRATION),
        "curves": {name: _curve(file) for name, file in curves.items()},
        "samples": [prompt.model_dump() for prompt in shown[:KEPT_SAMPLES]],
        "counts": {
            **{name: (clone / path).read_text("utf-8").count("\n") for name, path in pairs.items()},
            "heldout_prompts": len(samples),
            "samples": sum(len(prompt.policy) for prompt in samples),
        },
        "models": {name: read_json(path) for name, path in sources.items() if path.exists()},
        "made": made,
        "heldout": {name: _scores(samples, "policy", name) for name in SCORES},
        "reference": reference.digest,
    }
    # By way of JSON, so that what is written can be read again.
    return RowResults.model_validate_json(json.dumps(content)), reference


def _scores(samples: list[HeldoutSamples], side: str, name: str) -> list[list[float]] | None:
    """A score of every sample of the policy or the reference; None without a judge."""
    values = [[getattr(sample, name) for sample in getattr(prompt, side)] for prompt in samples]
    if any(value is None for prompt in values for value in prompt):
        return None
    return [[round(value, SCORE_DECIMALS) for value in prompt] for prompt in values]


def _curve(path: Path) -> list[tuple[int, float | None]]:
    """Points (step, value) of a training curve; a value that is no number is None."""
    points = csv.DictReader(path.read_text(encoding="utf-8").splitlines(), delimiter="\t")
    values = [(int(point["step"]), float(point[path.stem])) for point in points]
    return [(step, value if math.isfinite(value) else None) for step, value in values]
