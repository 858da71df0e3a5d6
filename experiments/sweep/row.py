"""One row: in a private clone of a commit, `dvc exp run`, and the numbers that came of it.

The folder it is started in may be edited meanwhile, and rows run side by side. Run twice, a row
gives the same: DVC's run cache has what the first run made.
"""

import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path

from experiments.row_records import Provenance
from experiments.sweep.collect import collect
from experiments.sweep.results import row_file, write_row
from experiments.sweep.spec import is_done, load
from fdpo.core.errors import UserError
from fdpo.core.local_files import SWEEP_FOLDER

UNFINISHED = ".ckpt"  # of fdpo.run.resume, which is slow to import
SCRATCH = Path(".dvc/tmp/sweeps")  # DVC keeps its tmp out of Git
DATA_STAGE = "split"  # the last stage that is the same for all rows with the same data
PACKAGES = ("torch", "transformers", "trl", "peft", "dvc")  # that numbers depend on
# The exit code again, advice, and where to write to: no cause of an error.
UNTELLING = ("ERROR: failed to reproduce", "WARNING:", "Having any troubles?", "hint:")


class RowFailed(Exception):
    """A row did not come to its end; the message is one line and names the log."""


@contextmanager
def private_clone(commit: str, name: str = "clone") -> Iterator[Path]:
    """A clone of the repository in the working directory, at `commit`; removed at the end.

    A commit that the repository lacks is fetched from its `origin`.
    """
    if not call("git", "cat-file", "-t", commit, check=False):
        call("git", "fetch", "--quiet", "origin")
    SCRATCH.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f"{name}-", dir=SCRATCH.absolute()) as folder:
        call("git", "clone", "--quiet", "--shared", "--no-checkout", ".", folder)
        call("git", "checkout", "--quiet", "--detach", commit, cwd=folder)
        yield Path(folder)


def run(sweep: str, name: str, commit: str, parent: int | None, wanted: set[str]) -> None:
    """Run the row `name` of a sweep at `commit` and write its results, unless they are there.

    Args:
        parent: the process that waits for this one; where it has gone, the row ends.
        wanted: `data` to leave the row's pairs in DVC's cache and no results; `push` to read DVC's
            remote, and push there and to Git's `origin`; `force` to run every stage in any case.

    Raises:
        RowFailed: a stage or DVC failed.
    """
    with private_clone(commit, name) as clone:
        rows = {row.name: row for row in load(sweep, clone)}
        if name not in rows:
            raise UserError(f"row {name!r}: not in {sweep}; there are {', '.join(rows)}")
        row, result = rows[name], row_file(sweep, name)
        if not wanted & {"data", "force"} and is_done(row, commit):
            return
        log = SCRATCH / sweep / f"{name}{'-data' if 'data' in wanted else ''}.log"
        dvc = _Dvc(clone, log, parent)
        options = {"push": "--pull", "force": "--force", "data": DATA_STAGE}
        settings = [part for setting in row.settings for part in ("-S", setting)]
        settings += [options[name] for name in options if name in wanted]
        started = time.monotonic()
        dvc("exp", "run", "--name", row.experiment, *settings)
        seconds = round(time.monotonic() - started, 1)
        if "data" in wanted:
            if "push" in wanted:
                dvc("push", "--run-cache", "--with-deps", DATA_STAGE)
            return
        ref = f"refs/exps/{commit[:2]}/{commit[2:]}/{row.experiment}"
        experiment = call("git", "rev-parse", "--verify", ref, cwd=clone)
        made = Provenance(
            commit=commit,
            experiment=experiment,
            name=row.experiment,
            seconds=seconds,
            python=platform.python_version(),
            packages={name: version(name) for name in PACKAGES},
            processor=processor(),
            machine=f"{os.cpu_count()} cores, OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS')}",
        )
        call("git", "fetch", "--quiet", "--no-write-fetch-head", str(clone), f"+{ref}:{ref}")
        if "push" in wanted:
            origin = call("git", "remote", "get-url", "origin")
            call("git", "remote", "set-url", "origin", origin, cwd=clone)
            dvc("exp", "push", "--force", "origin", row.experiment)
        write_row(result, *collect(clone, row, made))


class _Dvc:
    """DVC in a private clone, with the cache and the unfinished work of the working directory.

    The committed dvc.lock is left out: it may be of a machine whose last digits differ. Where a
    stage's inputs are as it says, DVC would look for its outputs alone and run the stage for every
    row, though the run cache has what the first row made.
    """

    def __init__(self, clone: Path, log: Path, parent: int | None):
        self.clone, self.log, self.parent = clone, log, parent
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text("")
        (clone / "dvc.lock").unlink(missing_ok=True)
        if Path(".dvc/config.local").exists():
            shutil.copy(".dvc/config.local", clone / ".dvc/config.local")
        cache = Path(call(sys.executable, "-m", "dvc", "cache", "dir")).absolute()
        self("config", "--local", "cache.dir", str(cache))
        Path(UNFINISHED).mkdir(exist_ok=True)
        (clone / UNFINISHED).symlink_to(Path(UNFINISHED).absolute())
        (clone / ".git/info/exclude").write_text(f"/{UNFINISHED}\n")

    def __call__(self, *arguments: str) -> None:
        """Run a command in a session of its own, so that it ends with all that it started."""
        own = {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            SWEEP_FOLDER: str(Path.cwd()),
            "DVC_SITE_CACHE_DIR": str(self.clone / ".dvc/tmp/site"),  # goes with the clone
        }
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "dvc", *arguments],
                cwd=self.clone,
                env={**os.environ, **own},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                while process.poll() is None:
                    with suppress(subprocess.TimeoutExpired):
                        process.wait(timeout=1)
                    if self.parent is not None and os.getppid() != self.parent:
                        sys.exit("the process that waited for this row has gone")
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
        if process.returncode:
            said = last_error(self.log.read_text(encoding="utf-8", errors="replace"))
            raise RowFailed(f"{said} ({platform.node()}:{self.log})")


def call(*command: str, cwd: str | Path = ".", check: bool = True) -> str:
    """What a command prints. With `check`, raises `UserError` with its error when it fails."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, check=False, text=True)
    if done.returncode and check:
        raise UserError(f"`{' '.join(command)}` failed: {last_error(done.stderr)}")
    return done.stdout.strip()


def last_error(printed: str) -> str:
    """The last line of what a command printed that says what went wrong."""
    lines = [line.strip() for line in printed.replace("\r", "\n").splitlines() if line.strip()]
    telling = [line for line in lines if not line.startswith(UNTELLING)]
    return (telling or lines or ["it printed nothing"])[-1]


def processor() -> str:
    """The processor's name, whether it has AVX-512, which changes the last digits, and the GPUs."""
    info = Path("/proc/cpuinfo")
    text = info.read_text(encoding="utf-8") if info.exists() else ""
    found = re.search(r"^model name\s*: (.*)$", text, re.MULTILINE)
    name = found[1] if found else platform.processor() or platform.machine()
    name += " with AVX-512" if " avx512f" in text else ""
    gpus = call("nvidia-smi", "-L").splitlines() if shutil.which("nvidia-smi") else []
    return ", ".join([name, *(gpu.split(" (")[0] for gpu in gpus)])
