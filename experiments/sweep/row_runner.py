"""Run rows as DVC experiments, side by side where there are several clones."""

import os
import subprocess
import sys
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from threading import Lock

from experiments.sweep.commands import last_error
from experiments.sweep.private_clones import stop_runs
from experiments.sweep.spec import RowSpec, as_dvc_arguments, data_settings
from experiments.verify import path as own_path
from fdpo.core.local_files import SWEEP_FOLDER

DATA_STAGE = "split"  # the last stage that is the same for all rows with the same data


class RowFailed(Exception):
    """A row did not come to its end; the message is one line."""


@dataclass(frozen=True)
class RowRun:
    """A row that has run to its end."""

    clone: Path  # which holds the experiment
    seconds: float


class RowRunner:
    """Runs rows in private clones, one per clone at a time; may be called from several threads."""

    def __init__(self, clones: list[Path], threads: int | None, logs: Path):
        """`threads` is OMP_NUM_THREADS of every row, None leaves it to PyTorch; `logs` a folder."""
        self.clones, self.threads, self._logs = clones, threads, logs
        self._free: SimpleQueue[Path] = SimpleQueue()
        for clone in clones:
            self._free.put(clone)
        self._data_locks: defaultdict[str, Lock] = defaultdict(Lock)
        self._data_made: set[str] = set()
        self._starting = Lock()
        self._stopped = False

    def log(self, name: str) -> Path:
        """The file that a row's stderr goes to."""
        return self._logs / f"{name}.log.err"

    def run(self, row: RowSpec, anew: bool = False) -> RowRun:
        """Run a row as the experiment `row.experiment`; with `anew` every stage, cached or not.

        Raises `RowFailed` with the error that its stderr ends with.
        """
        started = time.monotonic()
        clone = self._free.get()
        try:
            if anew:
                self._call_dvc(row, clone, f"{row.name}-again", row.experiment, "--force")
            else:
                self._make_data(row, clone)
                self._call_dvc(row, clone, row.name, row.experiment)
            return RowRun(clone, time.monotonic() - started)
        finally:
            self._free.put(clone)

    def stop(self) -> None:
        """Start nothing more and end what runs."""
        with self._starting:
            self._stopped = True
        stop_runs()

    def _make_data(self, row: RowSpec, clone: Path) -> None:
        """Sample and pair once for all rows with the same data; DVC's cache has it for the others.

        Two stages with the same inputs at the same time would hold each other up.
        """
        if len(self.clones) == 1:
            return
        data = data_settings(row.settings)
        with self._data_locks[data]:
            if data not in self._data_made:
                name = f"{row.experiment}-data"
                self._call_dvc(row, clone, f"{row.name}-data", name, DATA_STAGE)
                self._data_made.add(data)

    def _call_dvc(
        self, row: RowSpec, clone: Path, log: str, experiment: str, *options: str
    ) -> None:
        command = [sys.executable, "-m", "dvc", "exp", "run", "--temp", "--name", experiment]
        environment = {**os.environ, "PATH": own_path(), SWEEP_FOLDER: str(Path.cwd())}
        if self.threads:
            environment["OMP_NUM_THREADS"] = str(self.threads)
        self._logs.mkdir(parents=True, exist_ok=True)
        with (self._logs / f"{log}.log").open("wb") as out, self.log(log).open("wb") as err:
            with self._starting:
                if self._stopped:
                    raise RowFailed("interrupted")
                # In a session of its own: Ctrl-C reaches the sweep alone, which ends the whole.
                process = subprocess.Popen(
                    [*command, *as_dvc_arguments(row), *options],
                    cwd=clone,
                    stdout=out,
                    stderr=err,
                    env=environment,
                    start_new_session=True,
                )
            code = process.wait()
        if code:
            stderr = self.log(log).read_text(encoding="utf-8", errors="replace")
            raise RowFailed(last_error(stderr))
