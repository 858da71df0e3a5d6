"""Run a sweep's rows as DVC experiments and keep their numbers in experiments/results.

    python -m experiments.sweep run controlled --jobs 2

Rows run from the last commit, in clones of it: those that `list` prints, whose results are not
there with the params that the sweep gives them.
"""

import argparse
import signal
import sys
import time

from filelock import FileLock, Timeout

from experiments.programs import call
from experiments.sweep.row import SCRATCH, private_clone, run_row
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
    options.commit = getattr(options, "commit", None) or call("git", "rev-parse", "HEAD")
    if options.command == "row":
        signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
        return run_row(options)
    with private_clone(options.commit) as clone:
        rows = load(options.sweep, clone)
    waiting = [row for row in rows if not row.is_done()]
    if options.command == "list":
        of_each = {row.data if options.data else row.name: row.name for row in waiting}
        return print(*of_each.values(), sep="\n", end="\n" * bool(of_each))
    if edited := call("git", "status", "--porcelain", "--", *CODE).splitlines():
        without = ", ".join(line.split()[-1] for line in edited)
        say(f"the last commit runs, without the changes in {without}")
    say(f"{len(rows)} rows, {len(rows) - len(waiting)} done")
    try:
        with FileLock(lock := SCRATCH / f"{options.sweep}.lock", timeout=0):
            sys.exit(run_rows(waiting, options) if waiting else 0)
    except Timeout:
        raise UserError(f"{options.sweep}: another process runs it ({lock})") from None


def run_rows(rows: list[RowSpec], options: argparse.Namespace) -> str | None:
    """Run rows and keep each one's results as it ends; the list of those that failed."""
    from experiments.sweep import engine  # here, as Dask and PyTorch are slow to import

    failed = []
    own = ["--commit", options.commit, *["--push"] * options.push]
    with engine.connected(options.jobs, options.cluster) as (client, devices):
        for number, (row, found) in enumerate(engine.run(client, rows, own, devices), start=1):
            ended = f"{row.name}: {found if isinstance(found, str) else 'done'}"
            say(f"[{number}/{len(rows)}] {ended}")
            if isinstance(found, str):
                failed.append(ended)
                continue
            for path, text in found.items():  # the row's own file comes last
                with replacing(path) as scratch:
                    scratch.write_text(text, encoding="utf-8")
    return "\n".join([f"{len(failed)} of {len(rows)} rows failed:", *failed]) if failed else None


def say(line: str) -> None:
    """Print a line with the time of day before it."""
    print(f"{time.strftime('%H:%M:%S')} {line}", flush=True)


if __name__ == "__main__":
    errors.run(main)
