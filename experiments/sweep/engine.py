"""A sweep as Dask's graph: the data of a seed, then its rows, on this machine or a cluster.

A task is one command in its worker's own folder, a clone of the repository; text comes back.
"""

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pydoc import locate
from typing import Any

import dask
from dask.system import CPU_COUNT  # with a container's limits, as the memory
from distributed import Client, LocalCluster, as_completed, get_worker
from distributed.system import MEMORY_LIMIT

from experiments.sweep.results import files_of, row_file
from experiments.sweep.spec import RowSpec
from fdpo.core.errors import UserError

ROW_MEMORY = 2.5 * 2**30  # bytes; a row of the embedded study takes 1.9 GiB
Files = dict[str, str]  # their text by path


def default_jobs() -> int:
    """Rows to run at once here: one for each GPU, or each core as far as memory reaches."""
    return len(gpus()) or max(1, min(CPU_COUNT, int(MEMORY_LIMIT // ROW_MEMORY)))


def gpus() -> list[str]:
    """The GPUs that rows here may use, as CUDA_VISIBLE_DEVICES names them."""
    from torch.cuda import device_count  # here, as workers import this module too

    listed = os.environ.get("CUDA_VISIBLE_DEVICES", ",".join(map(str, range(device_count()))))
    return [name for name in listed.split(",") if name]


@contextmanager
def connected(jobs: int, cluster: str | None) -> Iterator[tuple[Client, int | None]]:
    """A client of a scheduler, and the threads of a row where the workers are this machine's own.

    Args:
        jobs: workers of a new cluster.
        cluster: its class, such as dask_jobqueue.SLURMCluster, which Dask's configuration sets up.
            None: the scheduler at DASK_SCHEDULER_ADDRESS, or else processes here that listen on
            127.0.0.1.

    Raises `UserError` where the scheduler does not answer, or there is no such class.
    """
    # Closing a cluster fills Dask's own log with tracebacks; what becomes of a row is said here.
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    if cluster is not None:
        kind = locate(cluster)
        if not callable(kind):
            raise UserError(f"--cluster = {cluster}: no such class; install its package")
        with kind() as workers, Client(workers) as client:
            workers.scale(jobs)
            yield client, None
    elif address := dask.config.get("scheduler-address", None):
        try:
            client = Client(address)
        except OSError as error:
            raise UserError(f"scheduler {address}: {error}") from None
        with client:
            yield client, None
    else:
        given = os.environ.get("OMP_NUM_THREADS", "")
        threads = int(given) if given.isdecimal() else CPU_COUNT // jobs
        ours = signal.signal(signal.SIGINT, signal.SIG_IGN)  # of Ctrl-C workers hear from here
        workers = LocalCluster(
            n_workers=jobs,
            threads_per_worker=1,
            memory_limit=0,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            silence_logs=logging.CRITICAL,
        )
        signal.signal(signal.SIGINT, ours)
        with workers, Client(workers) as client:
            yield client, max(1, threads)


def run(
    client: Client,
    rows: Sequence[RowSpec],
    commit: str,
    threads: int | None = None,
    options: Sequence[str] = (),
    task: Callable[..., Files] | None = None,
) -> Iterator[tuple[RowSpec, Files | str]]:
    """Run rows; yield each as it ends, with its results' files or the error in one line.

    A row starts as soon as its seed's data are there. Where a worker dies, Dask gives its rows to
    another one.

    Args:
        commit: what runs.
        threads: OMP_NUM_THREADS of a row; None leaves it, and GPUs, to the worker's environment.
        options: of the command `row`.
        task: what a worker runs, `command` where left out.
    """
    task = task or command
    devices = gpus() if threads else []
    data: dict[str, Any] = {}
    futures = {}
    for row in rows:
        place = (row.sweep, row.name, commit, threads, devices)
        name = f"{row.experiment}-{commit}"
        if row.data not in data:
            data[row.data] = client.submit(task, *place, [*options, "--data"], key=f"data-{name}")
        future = client.submit(task, *place, [*options], data[row.data], key=f"row-{name}")
        futures[future] = row
    for future, result in as_completed(list(futures), with_results=True, raise_errors=False):
        row = futures.pop(future)
        if future.status == "finished":
            yield row, result
        elif future.status == "error":
            yield row, str(future.exception())
        else:
            raise UserError("the scheduler has gone; finished rows are kept, so run it again")


def command(
    sweep: str,
    row: str,
    commit: str,
    threads: int | None,
    devices: list[str],
    options: list[str],
    _data: Files | None = None,
) -> Files:
    """On a worker: run `python -m experiments.sweep row`, and return its results' files."""
    environment = dict(os.environ)
    for library in ("MKL", "OPENBLAS"):  # a worker has 1 for these, which PyTorch would follow
        environment.pop(f"{library}_NUM_THREADS", None)
    if threads:
        environment["OMP_NUM_THREADS"] = str(threads)
    if devices:  # workers here are named by numbers, and each runs one row at a time
        environment["CUDA_VISIBLE_DEVICES"] = devices[int(get_worker().name) % len(devices)]
    arguments = [sweep, row, "--commit", commit, "--parent", str(os.getpid()), *options]
    line = [sys.executable, "-m", "experiments.sweep", "row", *arguments]
    done = subprocess.run(line, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError((done.stderr.strip() or f"exit code {done.returncode}").splitlines()[-1])
    if "--data" in options:
        return {}
    return {str(path): path.read_text("utf-8") for path in files_of(row_file(sweep, row))}
