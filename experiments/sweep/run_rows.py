"""Bring every row of a sweep into its results, or run a finished one again to compare."""

import sys
import time
from pathlib import Path
from statistics import median

from experiments.sweep import collect, finished
from experiments.sweep.finished import Experiment
from experiments.sweep.machine import machine, packages
from experiments.sweep.private_clone import RowFailed, run_row
from experiments.sweep.results import (
    Provenance,
    RowResults,
    SweepResults,
    differences,
    read_results,
    write_results,
)
from experiments.sweep.spec import RowSpec, SweepSpec
from fdpo.core.errors import UserError

SCRATCH = Path(".dvc/tmp/sweeps")  # DVC keeps its tmp out of Git
RECENT = 5  # rows that an estimate of the time left looks back on


class SweepRun:
    """The rows of one sweep: those done, whose results are on disk, and those left to run."""

    def __init__(self, path: Path, sweep: SweepSpec, commit: str):
        """`commit` is what rows run from. Raises `UserError` when `path` is of another study."""
        self.path, self.sweep, self.commit = path, sweep, commit
        self.done: dict[str, RowResults] = {}
        if path.exists():
            earlier = read_results(path)
            if earlier.study != sweep.study:
                raise UserError(
                    f"{path}: study = {earlier.study!r}, but the sweep's is {sweep.study!r};"
                    " give the sweep another name"
                )
            self.done = dict(earlier.rows)
        self._seconds: list[float] = []  # of the rows run by this process

    def has(self, row: RowSpec) -> bool:
        """Whether the row is done with the params that the sweep now gives it."""
        return row.name in self.done and self.done[row.name].params == row.params

    def run(self, rows: list[RowSpec], clone: Path) -> int:
        """Run those of `rows` that are not done; return the exit code."""
        waiting = [row for row in rows if not self.has(row)]
        report(f"{len(rows)} rows, {len(rows) - len(waiting)} done")
        failed: dict[str, str] = {}
        for index, row in enumerate(waiting):
            if change := self._edited(row):
                report(f"{row.name}: edited since it ran ({change}); it runs again")
            try:
                seconds = self._obtain(row, clone)
                outcome = (
                    "taken from the experiment" if seconds is None else f"done in {seconds:.0f} s"
                )
            except (RowFailed, UserError) as error:
                failed[row.name] = str(error)
                outcome = f"failed: {error}"
            left = len(waiting) - index - 1
            report(
                f"[{index + 1}/{len(waiting)}] {row.name}: {outcome}; {left} left{self._time(left)}"
            )
        for name in sorted(self.done.keys() - {row.name for row in self.sweep.rows}):
            report(
                f"{name}: in {self.path}, but no row of the sweep; remove it there if it should go"
            )
        if failed:
            print(f"{len(failed)} of {len(rows)} rows failed:", file=sys.stderr)
            for name, line in failed.items():
                print(f"  {name}: {line} ({self._log(name)}.err)", file=sys.stderr)
        return 1 if failed else 0

    def run_again(self, row: RowSpec, clone: Path) -> int:
        """Run a finished row with nothing cached and compare every number; return the exit code."""
        log = self._log(f"{row.name}-again")
        before = self.done[row.name]
        try:
            seconds = run_row(row, clone, log, force=True)
            commit = finished.made_in(clone, row.experiment).commit
            now = collect.row_results(clone, commit, row.params, before.made)
        except RowFailed as error:
            print(f"{row.name}: failed: {error} ({log}.err)", file=sys.stderr)
            return 1
        names, count = differences(before, now)
        if names:
            print(f"{row.name}: {len(names)} of {count} values differ: {', '.join(names)}")
            print(f"  before: {before.made.machine or 'unknown machine'}; now: {machine()}")
            return 1
        print(f"{row.name}: all {count} values are the same to the last digit ({seconds:.0f} s)")
        return 0

    def _obtain(self, row: RowSpec, clone: Path) -> float | None:
        """Add the row to the results: the seconds it ran, or None where its experiment existed."""
        if experiment := finished.find(row, self.commit):
            try:
                self._add(row, experiment, None)
                return None
            except RowFailed as error:  # pulled without its data, or collected as garbage
                report(f"{row.name}: there is an experiment, but {error}; it runs again")
        seconds = run_row(row, clone, self._log(row.name))
        experiment = finished.made_in(clone, row.experiment)
        finished.keep(experiment, clone)
        self._add(row, experiment, seconds)
        self._seconds.append(seconds)
        return seconds

    def _add(self, row: RowSpec, experiment: Experiment, seconds: float | None) -> None:
        """Write the row to the results; without `seconds` nothing is said of the machine."""
        here = seconds is not None
        provenance = Provenance(
            commit=experiment.baseline,
            experiment=experiment.commit,
            name=row.experiment,
            seconds=None if seconds is None else round(seconds, 1),
            python=sys.version.split()[0] if here else None,
            packages=packages() if here else None,
            machine=machine() if here else None,
        )
        models = collect.models(".", experiment.commit)
        self.done[row.name] = collect.row_results(".", experiment.commit, row.params, provenance)
        results = SweepResults(
            sweep=self.sweep.name, study=self.sweep.study, models=models, rows=self.done
        )
        write_results(self.path, results)

    def _edited(self, row: RowSpec) -> str:
        """What differs between the row and the results' row of its name; empty without one."""
        if row.name not in self.done:
            return ""
        old, new = self.done[row.name].params.model_dump(), row.params.model_dump()
        keys = [key for key in sorted(old.keys() | new.keys()) if old.get(key) != new.get(key)]
        return ", ".join(f"{key} {old.get(key)} → {new.get(key)}" for key in keys)

    def _time(self, left: int) -> str:
        """The time for so many rows at the pace of the last ones; empty where nothing is known."""
        if not left or not self._seconds:
            return ""
        minutes = left * median(self._seconds[-RECENT:]) / 60
        return f", about {minutes:.0f} min" if minutes >= 1 else ", less than a minute"

    def _log(self, name: str) -> Path:
        return SCRATCH / self.sweep.name / f"{name}.log"


def report(line: str) -> None:
    """Print a line with the time of day before it."""
    print(f"{time.strftime('%H:%M:%S')} {line}", flush=True)
