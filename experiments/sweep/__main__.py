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
from experiments.sweep.row import SCRATCH, call, private_clone
from experiments.sweep.spec import SPECS, RowSpec, is_done, load
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
    wanted = {name for name in ("data", "push", "force") if getattr(options, name, False)}
    commit = getattr(options, "commit", None) or call("git", "rev-parse", "HEAD")
    if options.command == "row":
        signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
        try:
            return one_row.run(options.sweep, options.row, commit, options.parent, wanted)
        except one_row.RowFailed as error:
            sys.exit(f"{options.row}: {error}")
    with private_clone(commit) as clone:
        rows = load(options.sweep, clone)
    waiting = [row for row in rows if not is_done(row)]
    if options.command == "list":
        for name in {row.data if options.data else row.name: row.name for row in waiting}.values():
            print(name)
        return None
    if edited := call("git", "status", "--porcelain", "--", *CODE).splitlines():
        names = ", ".join(line.split()[-1] for line in edited)
        say(f"the last commit runs, without the changes in {names}")
    say(f"{len(rows)} rows, {len(rows) - len(waiting)} done")
    lock = FileLock(SCRATCH / f"{options.sweep}.lock", timeout=0)
    try:
        with lock:
            sys.exit(run_rows(waiting, commit, options, wanted) if waiting else 0)
    except Timeout:
        raise UserError(f"{options.sweep}: another process runs it ({lock.lock_file})") from None


def run_rows(
    rows: list[RowSpec], commit: str, options: argparse.Namespace, wanted: set[str]
) -> str | None:
    """Run rows and keep each one's results as it ends; the list of those that failed."""
    from experiments.sweep import engine  # here, as Dask and PyTorch are slow to import

    failed = []
    jobs = options.jobs or engine.default_jobs()
    with engine.connected(jobs, options.cluster) as (client, threads):
        ends = engine.run(client, rows, commit, threads, [f"--{name}" for name in wanted])
        for number, (row, outcome) in enumerate(ends, start=1):
            said = f"{row.name}: done"
            if isinstance(outcome, str):
                failed.append(said := outcome)
            else:
                for path, text in outcome.items():  # the row's own file comes last
                    with replacing(path) as scratch:
                        scratch.write_text(text, encoding="utf-8")
            say(f"[{number}/{len(rows)}] {said}")
    return "\n".join([f"{len(failed)} of {len(rows)} rows failed:", *failed]) if failed else None


def say(line: str) -> None:
    """Print a line with the time of day before it."""
    print(f"{time.strftime('%H:%M:%S')} {line}", flush=True)


if __name__ == "__main__":
    errors.run(main)
