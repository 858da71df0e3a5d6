"""Run a sweep's rows as DVC experiments and keep their numbers in experiments/results.

    python -m experiments.sweep controlled
    python -m experiments.sweep controlled --rows sigmoid-b0.1-s1 fkl-b1-s1
    python -m experiments.sweep seed-table --again sigmoid-b0.1-s1

Rows run one after another, in a private clone of the last commit: the workspace stays as it is and
may be edited meanwhile. A row is done when the results have it with its params, or when an
experiment of its name, params and code is in this repository. So a sweep can be interrupted and run
again, and go on in another clone.
"""

import argparse
import signal
import sys
import time
from pathlib import Path

from experiments.sweep import collect, runner
from experiments.sweep.machine import machine, packages
from experiments.sweep.results import Results, differences
from experiments.sweep.runner import Experiment, RowFailed
from experiments.sweep.spec import Row, Sweep, load
from fdpo.core import errors
from fdpo.core.errors import UserError
from fdpo.run.locks import exclusive_lock

RESULTS = Path("experiments/results")
SCRATCH = Path(".dvc/tmp/sweeps")  # DVC keeps its tmp out of Git


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("sweep", help="a file of experiments/sweeps, without .yaml")
    parser.add_argument("--rows", nargs="+", metavar="ROW", help="only these rows")
    parser.add_argument("--again", metavar="ROW", help="run a finished row anew and compare")
    options = parser.parse_args(arguments)
    commit = runner.call("git", "rev-parse", "HEAD")
    sweep = load(options.sweep, runner.params_at(commit))
    rows = chosen(sweep, [options.again] if options.again else options.rows)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup sets it
            signal.signal(number, interrupt)
    with exclusive_lock(SCRATCH / "lock", "sweep"):
        runner.stop_runs()
        results = Results(RESULTS / f"{sweep.name}.json", sweep)
        if options.again and not results.has(rows[0]):
            raise UserError(f"row {options.again!r}: not in {results.path} as it is; run it first")
        if edited := runner.changed([*runner.CODE, "params.yaml"], commit):
            print(f"sweep: the last commit runs, without the changes in {', '.join(edited)}")
        with runner.private_clone(SCRATCH / "clone") as clone:
            if options.again:
                code = again(rows[0], results, clone)
            else:
                code = run_all(rows, results, clone, commit)
    sys.exit(code)


def interrupt(number: int, _frame: object) -> None:
    print("sweep: interrupted; run it again to go on", file=sys.stderr)
    sys.exit(128 + number)


def chosen(sweep: Sweep, names: list[str] | None) -> list[Row]:
    known = {row.name: row for row in sweep.rows}
    for name in names or []:
        if name not in known:
            raise UserError(f"row {name!r}: not in {sweep.name}; there are {', '.join(known)}")
    return sweep.rows if names is None else [row for row in sweep.rows if row.name in names]


def run_all(rows: list[Row], results: Results, clone: Path, commit: str) -> int:
    """Bring every row into the results; return the exit code."""
    waiting = [row for row in rows if not results.has(row)]
    say(f"{len(rows)} rows, {len(rows) - len(waiting)} done")
    failed: dict[str, str] = {}
    for index, row in enumerate(waiting):
        if change := results.edited(row):
            say(f"{row.name}: edited since it ran ({change}); it runs again")
        try:
            seconds = bring(row, results, clone, commit)
            told = "taken from the experiment" if seconds is None else f"done in {seconds:.0f} s"
        except (RowFailed, UserError) as error:
            failed[row.name] = str(error)
            told = f"failed: {error}"
        left = len(waiting) - index - 1
        say(f"[{index + 1}/{len(waiting)}] {row.name}: {told}; {left} left{results.estimate(left)}")
    for name in results.strangers():
        say(f"{name}: in {results.path}, but no row of the sweep; remove it there if it should go")
    if failed:
        print(f"{len(failed)} of {len(rows)} rows failed:", file=sys.stderr)
        for name, line in failed.items():
            print(f"  {name}: {line} ({log_of(name, results)}.err)", file=sys.stderr)
    return 1 if failed else 0


def log_of(name: str, results: Results) -> Path:
    return SCRATCH / results.sweep.name / f"{name}.log"


def say(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {line}", flush=True)


def bring(row: Row, results: Results, clone: Path, commit: str) -> float | None:
    """Add the row to the results: the seconds it ran, or None where its experiment was there."""
    if experiment := runner.find(row, commit):
        try:
            add(row, experiment, None, results)
            return None
        except RowFailed as error:  # pulled without its data, or collected as garbage
            say(f"{row.name}: there is an experiment, but {error}; it runs again")
    experiment, seconds = runner.run(row, clone, log_of(row.name, results))
    runner.keep(experiment, clone)
    add(row, experiment, seconds, results)
    return seconds


def add(row: Row, experiment: Experiment, seconds: float | None, results: Results) -> None:
    models = collect.models(".", experiment.commit)
    results.add(row, record(row, experiment, seconds), models)


def record(row: Row, experiment: Experiment, seconds: float | None) -> dict:
    """The row as the results keep it; where it was not run here, nothing is said of the machine."""
    here = seconds is not None
    made = {
        "commit": experiment.baseline,
        "experiment": experiment.commit,
        "name": row.experiment,
        "seconds": round(seconds, 1) if here else None,
        "python": sys.version.split()[0] if here else None,
        "packages": packages() if here else None,
        "machine": machine() if here else None,
    }
    return {"params": row.params, **collect.read(".", experiment.commit), "made": made}


def again(row: Row, results: Results, clone: Path) -> int:
    """Run a finished row with nothing cached and compare every number; return the exit code."""
    log = log_of(f"{row.name}-again", results)
    try:
        experiment, seconds = runner.run(row, clone, log, force=True)
        found = collect.read(clone, experiment.commit)
    except RowFailed as error:
        print(f"{row.name}: failed: {error} ({log}.err)", file=sys.stderr)
        return 1
    before = results.rows[row.name]
    names, count = differences(before, found)
    if names:
        print(f"{row.name}: {len(names)} of {count} values differ: {', '.join(names)}")
        print(f"  before: {before['made']['machine'] or 'unknown machine'}; now: {machine()}")
        return 1
    print(f"{row.name}: all {count} values are the same to the last digit ({seconds:.0f} s)")
    return 0


if __name__ == "__main__":
    errors.run(main)
