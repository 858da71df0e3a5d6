"""Run a sweep's rows as DVC experiments and keep their numbers in experiments/results.

    python -m experiments.sweep controlled
    python -m experiments.sweep controlled --rows sigmoid-b0.1-s1 fkl-b1-s1
    python -m experiments.sweep controlled --jobs 1
    python -m experiments.sweep seed-table --again sigmoid-b0.1-s1

Rows run in private clones of the last commit, as many at once as cores and memory allow: the
workspace stays as it is and may be edited meanwhile. A row is done when the results have it with
its params, or when an experiment of its name, params and code is in this repository. So a sweep can
be interrupted and run again, and go on in another clone.
"""

import argparse
import signal
import sys

from experiments.sweep import finished, machine
from experiments.sweep.commands import call, forget_hook_variables
from experiments.sweep.private_clones import SCRATCH, private_clones, stop_runs
from experiments.sweep.results import SWEEP_RESULTS
from experiments.sweep.row_runner import RowRunner
from experiments.sweep.run_rows import SweepRun
from experiments.sweep.spec import RowSpec, SweepSpec, load
from fdpo.core import errors
from fdpo.core.errors import UserError
from fdpo.run.dvc_rwlock import remove_damaged_rwlock
from fdpo.run.locks import exclusive_lock


def main(arguments: list[str] | None = None) -> None:
    """Run the command line's rows; exit with 1 when some failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("sweep", help="a file of experiments/sweeps, without .yaml")
    parser.add_argument("--rows", nargs="+", metavar="ROW", help="only these rows")
    parser.add_argument("--again", metavar="ROW", help="run a finished row anew and compare")
    parser.add_argument("--jobs", type=int, metavar="N", help="rows to run at once")
    options = parser.parse_args(arguments)
    jobs = machine.default_jobs() if options.jobs is None else options.jobs
    if jobs < 1:
        raise UserError(f"--jobs = {jobs}: must be at least 1")
    forget_hook_variables()
    commit = call("git", "rev-parse", "HEAD")
    sweep = load(options.sweep, finished.params_at(commit))
    rows = select(sweep, [options.again] if options.again else options.rows)
    finished.check_files(rows, commit)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup sets it
            signal.signal(number, interrupt)
    with exclusive_lock(SCRATCH / "lock", "sweep"):
        stop_runs()
        remove_damaged_rwlock()
        sweep_run = SweepRun(SWEEP_RESULTS / f"{sweep.name}.json", sweep, commit)
        if options.again and not sweep_run.has(rows[0]):
            raise UserError(
                f"row {options.again!r}: not in {sweep_run.path} as it is; run it first"
            )
        if edited := finished.changed((*finished.CODE, "params.yaml"), commit):
            print(f"sweep: the last commit runs, without the changes in {', '.join(edited)}")
        with private_clones(SCRATCH / "clones", 1 if options.again else jobs) as clones:
            runner = RowRunner(clones, machine.threads_per_row(jobs), SCRATCH / sweep.name)
            if options.again:
                code = sweep_run.run_again(rows[0], runner)
            else:
                code = sweep_run.run(rows, runner)
    sys.exit(code)


def interrupt(number: int, _frame: object) -> None:
    """End the sweep with one line and the shell's exit code for a signal."""
    print("sweep: interrupted; run it again to go on", file=sys.stderr)
    sys.exit(128 + number)


def select(sweep: SweepSpec, names: list[str] | None) -> list[RowSpec]:
    """The sweep's rows of these names, or all. Raises `UserError` for a name it does not have."""
    available = {row.name for row in sweep.rows}
    for name in names or []:
        if name not in available:
            in_order = ", ".join(row.name for row in sweep.rows)
            raise UserError(f"row {name!r}: not in {sweep.name}; there are {in_order}")
    return [row for row in sweep.rows if names is None or row.name in names]


if __name__ == "__main__":
    errors.run(main)
