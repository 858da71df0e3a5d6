"""Bring every row of a sweep into its results, or run a finished one again to compare.

Rows run side by side, in a thread of this process each. All else, from reading what a run left to
writing the results, happens in the main thread, one row after another.
"""

import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from pathlib import Path
from statistics import median

from experiments.sweep import collect, finished, machine
from experiments.sweep.finished import Experiment
from experiments.sweep.results import (
    Provenance,
    ReferenceResults,
    RowResults,
    SweepResults,
    differences,
    read_results,
    write_results,
)
from experiments.sweep.row_runner import RowFailed, RowRun, RowRunner
from experiments.sweep.spec import RowSpec, SweepSpec
from fdpo.core.errors import UserError

RECENT = 5  # rows that an estimate of the time left looks back on


class SweepRun:
    """The rows of one sweep: those done, whose results are on disk, and those left to run."""

    def __init__(self, path: Path, sweep: SweepSpec, commit: str):
        """`commit` is what rows run from. Raises `UserError` when `path` is of another study."""
        self.path, self.sweep, self.commit = path, sweep, commit
        self.done: dict[str, RowResults] = {}
        self.references: dict[str, ReferenceResults] = {}
        if path.exists():
            earlier = read_results(path)
            if earlier.study != sweep.study:
                raise UserError(
                    f"{path}: study = {earlier.study!r}, but the sweep's is {sweep.study!r};"
                    " give the sweep another name"
                )
            self.done, self.references = dict(earlier.rows), dict(earlier.references)
        self._seconds: list[float] = []  # of the rows run by this process

    def has(self, row: RowSpec) -> bool:
        """Whether the row is done with the params that the sweep now gives it."""
        return row.name in self.done and self.done[row.name].params == row.params

    def run(self, rows: list[RowSpec], runner: RowRunner) -> int:
        """Run those of `rows` that are not done; return the exit code."""
        waiting = [row for row in rows if not self.has(row)]
        report(f"{len(rows)} rows, {len(rows) - len(waiting)} done")
        left = len(waiting)
        failed: dict[str, str] = {}

        def end(row: RowSpec, outcome: str) -> None:
            nonlocal left
            left -= 1
            place = f"[{len(waiting) - left}/{len(waiting)}]"
            remaining = f"{left} left{self._time(left / len(runner.clones))}"
            report(f"{place} {row.name}: {outcome}; {remaining}")

        to_run = []
        for row in waiting:
            if self._take_up(row):
                end(row, "taken from the experiment")
            else:
                to_run.append(row)
        with ThreadPoolExecutor(len(runner.clones)) as threads:
            running: dict[Future[RowRun], RowSpec] = {
                threads.submit(runner.run, row): row for row in to_run
            }
            try:
                for run in as_completed(running):
                    row = running[run]
                    try:
                        end(row, f"done in {self._keep(row, run.result(), runner):.0f} s")
                    except (RowFailed, UserError) as error:
                        failed[row.name] = str(error)
                        end(row, f"failed: {error}")
            except BaseException:
                threads.shutdown(wait=False, cancel_futures=True)
                runner.stop()
                raise
        for name in sorted(self.done.keys() - {row.name for row in self.sweep.rows}):
            report(f"{name}: in {self.path}, but no row of the sweep; remove it there if it may go")
        if failed:
            print(f"{len(failed)} of {len(rows)} rows failed:", file=sys.stderr)
            for name, line in failed.items():
                print(f"  {name}: {line} ({runner.log(name)})", file=sys.stderr)
        return 1 if failed else 0

    def run_again(self, row: RowSpec, runner: RowRunner) -> int:
        """Run a finished row with nothing cached and compare every number; return the exit code."""
        before = self.done[row.name]
        try:
            run = runner.run(row, anew=True)
            commit = finished.made_in(run.clone, row.experiment).commit
            now = collect.row_results(run.clone, commit, row.params, before.made)
        except RowFailed as error:
            log = runner.log(f"{row.name}-again")
            print(f"{row.name}: failed: {error} ({log})", file=sys.stderr)
            return 1
        except BaseException:
            runner.stop()
            raise
        names, count = differences(before, now)
        if names:
            here = machine.description(runner.threads)
            print(f"{row.name}: {len(names)} of {count} values differ: {', '.join(names)}")
            print(f"  before: {before.made.machine or 'unknown machine'}; now: {here}")
            return 1
        print(
            f"{row.name}: all {count} values are the same to the last digit ({run.seconds:.0f} s)"
        )
        return 0

    def _take_up(self, row: RowSpec) -> bool:
        """Add the row to the results from a finished experiment, where there is one."""
        if change := self._edited(row):
            report(f"{row.name}: edited since it ran ({change}); it runs again")
        experiment = finished.find(row, self.commit)
        if experiment is None:
            return False
        try:
            self._add(row, ".", provenance(row, experiment))
        except RowFailed as error:  # pulled without its data, or collected as garbage
            report(f"{row.name}: there is an experiment, but {error}; it runs again")
            return False
        return True

    def _keep(self, row: RowSpec, run: RowRun, runner: RowRunner) -> float:
        """Add a row that has run to the results, then its experiment to the user's repository."""
        experiment = finished.made_in(run.clone, row.experiment)
        here = machine.description(runner.threads)
        try:
            self._add(row, run.clone, provenance(row, experiment, run.seconds, here))
        finally:
            try:
                finished.keep(experiment, run.clone)
            except UserError as error:
                report(f"{row.name}: its experiment could not be added to this repository: {error}")
        self._seconds.append(run.seconds)
        return run.seconds

    def _add(self, row: RowSpec, repo: Path | str, made: Provenance) -> None:
        """Write the row to the results, as the experiment in `repo` has it."""
        models = collect.models(repo, made.experiment)
        self.done[row.name] = collect.row_results(repo, made.experiment, row.params, made)
        reference = collect.reference_results(repo, made.experiment)
        named = {done.reference for done in self.done.values()}
        self.references = {
            digest: known
            for digest, known in (self.references | {reference.digest: reference}).items()
            if digest in named
        }
        results = SweepResults(
            sweep=self.sweep.name,
            study=self.sweep.study,
            models=models,
            references=self.references,
            rows=self.done,
        )
        write_results(self.path, results)

    def _edited(self, row: RowSpec) -> str:
        """What differs between the row and the results' row of its name; empty without one."""
        if row.name not in self.done:
            return ""
        old, new = self.done[row.name].params.model_dump(), row.params.model_dump()
        keys = [key for key in sorted(old.keys() | new.keys()) if old.get(key) != new.get(key)]
        return ", ".join(f"{key} {old.get(key)} → {new.get(key)}" for key in keys)

    def _time(self, rows_in_turn: float) -> str:
        """The time for so many rows at the pace of the last ones; empty where nothing is known."""
        if not rows_in_turn or not self._seconds:
            return ""
        minutes = rows_in_turn * median(self._seconds[-RECENT:]) / 60
        return f", about {minutes:.0f} min" if minutes >= 1 else ", less than a minute"


def provenance(
    row: RowSpec, experiment: Experiment, seconds: float | None = None, here: str | None = None
) -> Provenance:
    """Where a row comes from; where it was not run `here`, nothing is said of time and machine."""
    return Provenance(
        commit=experiment.baseline,
        experiment=experiment.commit,
        name=row.experiment,
        seconds=None if seconds is None else round(seconds, 1),
        python=sys.version.split()[0] if here else None,
        packages=machine.packages() if here else None,
        machine=here,
    )


def report(line: str) -> None:
    """Print a line with the time of day before it."""
    print(f"{time.strftime('%H:%M:%S')} {line}", flush=True)
