"""Run a sweep's rows as DVC experiments and keep their numbers in experiments/results.

    python -m experiments.sweep run controlled --jobs 2
    python -m experiments.sweep row controlled sigmoid-b0.1-s1
    python -m experiments.sweep list controlled

Rows run from the last commit, in clones of it. `run` runs those that `list` prints: whose results
are not there with the params that the sweep gives them. It runs them on this machine's cores or on
a cluster of Dask's. `row` runs one, as a job of its own.
"""

import argparse
import signal
import sys
import time

from filelock import FileLock, Timeout

from experiments.sweep import row as one_row
from experiments.sweep.results import read_row, row_file
from experiments.sweep.row import SCRATCH, call, private_clone
from experiments.sweep.spec import SPECS, RowSpec, load
from fdpo.core import errors
from fdpo.core.errors import UserError
from fdpo.core.files import replacing

CODE = ("dvc.yaml", "params.yaml", "studies", "fdpo", "stages", "user_data", str(SPECS))


def main(arguments: list[str] | None = None) -> None:
    """Run what the command line says; exit with 1 when a row failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    run, row, listed = (commands.add_parser(name) for name in ("run", "row", "list"))
    for command in (run, row, listed):
        command.add_argument("sweep", help="a file of experiments/sweeps, without .yaml")
    run.add_argument("--jobs", type=int, metavar="N", help="rows to run at once")
    run.add_argument("--cluster", help="a class of Dask clusters: dask_jobqueue.SLURMCluster")
    row.add_argument("row", help="its name, as `list` prints it")
    row.add_argument("--force", action="store_true", help="though it is done, with nothing cached")
    row.add_argument("--commit", help="what runs; the last commit where left out")
    row.add_argument("--parent", type=int, help="end when this process has gone")
    for command in (run, row):
        command.add_argument("--push", action="store_true", help="share by DVC's remote and origin")
    for command in (row, listed):
        command.add_argument("--data", action="store_true", help="of each seed the data alone")
    options = parser.parse_args(arguments)
    commit = getattr(options, "commit", None) or call("git", "rev-parse", "HEAD")
    if options.command == "row":
        signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
        kind = {name: getattr(options, name) for name in ("data", "push", "force", "parent")}
        try:
            one_row.run(options.sweep, options.row, commit, **kind)
        except one_row.RowFailed as error:
            sys.exit(f"{options.row}: {error}")
        return
    with private_clone(commit) as clone:
        rows = load(options.sweep, clone)
    if options.command == "list":
        waiting = [row for row in rows if not is_done(row)]
        names = {row.data if options.data else row.name: row.name for row in waiting}
        print(*names.values(), sep="\n")
        return
    lock = FileLock(SCRATCH / f"{options.sweep}.lock", timeout=0)
    try:
        with lock:
            run_rows(rows, commit, options.jobs, options.cluster, ["--push"] * options.push)
    except Timeout:
        raise UserError(f"{options.sweep}: another process runs it ({lock.lock_file})") from None


def run_rows(
    rows: list[RowSpec], commit: str, jobs: int | None, cluster: str | None, options: list[str]
) -> None:
    """Run the rows that are not done and keep each one's results as it ends; exit with 1 when some
    failed, after a list of them."""
    waiting = [row for row in rows if not is_done(row)]
    say(f"{len(rows)} rows, {len(rows) - len(waiting)} done")
    if edited := call("git", "status", "--porcelain", "--", *CODE).splitlines():
        names = ", ".join(line.split()[-1] for line in edited)
        say(f"the last commit runs, without the changes in {names}")
    if not waiting:
        return
    from experiments.sweep import engine  # here, as Dask and PyTorch are slow to import

    failed = []
    with engine.connected(jobs or engine.default_jobs(), cluster) as (client, threads):
        ends = engine.run(client, waiting, commit, threads, options)
        for number, (row, outcome) in enumerate(ends, start=1):
            if isinstance(outcome, str):
                failed.append(f"{row.name}: {outcome}")
            else:
                for path, text in outcome.items():  # the row's own file comes last
                    with replacing(path) as scratch:
                        scratch.write_text(text, encoding="utf-8")
            end = failed[-1] if isinstance(outcome, str) else f"{row.name}: done"
            say(f"[{number}/{len(waiting)}] {end}")
    if failed:
        sys.exit("\n  ".join([f"{len(failed)} of {len(waiting)} rows failed:", *failed]))


def is_done(row: RowSpec) -> bool:
    """Whether there are results of the row with the params that the sweep now gives it."""
    path = row_file(row.sweep, row.name)
    return path.exists() and read_row(path).params == row.params


def say(line: str) -> None:
    """Print a line with the time of day before it."""
    print(f"{time.strftime('%H:%M:%S')} {line}", flush=True)


if __name__ == "__main__":
    errors.run(main)
