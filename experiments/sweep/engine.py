"""A sweep as Dask's graph: the data of a seed, then its rows, on this machine or a cluster.

A task is one command in its worker's own folder, a clone of the repository; text comes back.
"""

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
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


@contextmanager
def connected(jobs: int | None, cluster: str | None) -> Iterator[tuple[Client, list[str]]]:
    """A client of a scheduler, and the GPUs of its workers where they are this machine's own.

    `cluster` is a class such as dask_jobqueue.SLURMCluster, which Dask's configuration sets up;
    else the scheduler is at DASK_SCHEDULER_ADDRESS, or here on 127.0.0.1. A new one has `jobs`
    workers, by default one for each GPU here, or each core as far as memory reaches.

    Raises `UserError` where the scheduler does not answer, or there is no such class.
    """
    # A cluster that closes or dies fills logs with tracebacks; what becomes of a row is said here.
    logging.disable(logging.ERROR)
    if cluster is None and (address := dask.config.get("scheduler-address", None)):
        try:
            client = Client(address)
        except OSError as error:
            raise UserError(f"scheduler {address}: {error}") from None
        with client:
            yield client, []
        return
    from torch.cuda import device_count  # here, as it is slow to import, and workers import this

    kind = LocalCluster if cluster is None else locate(cluster)
    if not callable(kind):
        raise UserError(f"--cluster = {cluster}: no such class; install its package")
    listed = os.environ.get("CUDA_VISIBLE_DEVICES", ",".join(map(str, range(device_count()))))
    devices = [name for name in listed.split(",") if name]
    jobs = jobs or len(devices) or max(1, min(CPU_COUNT, int(MEMORY_LIMIT // ROW_MEMORY)))
    here: dict[str, Any] = {"n_workers": jobs, "threads_per_worker": 1, "memory_limit": 0}
    here |= {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"}
    here |= {"silence_logs": logging.CRITICAL}
    # Rows share the cores, unless OMP_NUM_THREADS is set; profiles and ticks would cost some CPU.
    threads = {"distributed.nanny.pre-spawn-environ.OMP_NUM_THREADS": CPU_COUNT // jobs or 1}
    idle = {"distributed.worker.profile.enabled": False, "distributed.admin.tick.interval": "1s"}
    ours = signal.signal(signal.SIGINT, signal.SIG_IGN)  # of Ctrl-C workers hear from here
    with dask.config.set(threads | idle if cluster is None else {}):
        workers = kind(**here if cluster is None else {})
    signal.signal(signal.SIGINT, ours)
    with workers, Client(workers) as client:
        workers.scale(jobs)
        yield client, devices if cluster is None else []


def run(
    client: Client, rows: Sequence[RowSpec], options: Sequence[str], devices: Sequence[str]
) -> Iterator[tuple[RowSpec, dict[str, str] | str]]:
    """Run rows; yield each as it ends, with its results' files or the error in one line.

    A row starts as soon as its seed's data are there, in the rows' order; a dead worker's rows go
    to another. `options` are of the command `row`; without `devices` a worker's own environment
    says which GPUs it has.
    """
    task, tasks = dask.delayed(command), []
    data: dict[str, Any] = {}
    for number, row in enumerate(rows):
        line = [row.sweep, row.name, *options]
        key = "-".join([row.experiment, *options])
        # In order, so that a sweep that is cut off leaves whole seeds: losses are compared within.
        with dask.annotate(priority=-number):
            if row.data not in data:
                data[row.data] = task([*line, "--data"], devices, dask_key_name=f"data-{key}")
            tasks.append(task(line, devices, data[row.data], dask_key_name=f"row-{key}"))
    futures = dict(zip(client.compute(tasks), rows, strict=True))  # one message for all rows
    for future, result in as_completed(list(futures), with_results=True, raise_errors=False):
        row = futures.pop(future)
        if future.status == "finished":
            yield row, result
        elif future.status == "error":
            yield row, " ".join(str(future.exception()).split())
        else:
            raise UserError("the scheduler has gone; finished rows are kept, so run it again")


def command(line: list[str], devices: Sequence[str], _data: Any = None) -> dict[str, str]:
    """On a worker: the command `row` in a process; the text of its results' files by path."""
    environment = dict(os.environ)
    for library in ("MKL", "OPENBLAS"):  # a worker has 1 for these, which PyTorch would follow
        environment.pop(f"{library}_NUM_THREADS", None)
    if devices:  # workers here are named by numbers, and each runs one row at a time
        environment["CUDA_VISIBLE_DEVICES"] = devices[int(get_worker().name) % len(devices)]
    line = [sys.executable, "-m", "experiments.sweep", "row", *line, "--parent", str(os.getpid())]
    done = subprocess.run(line, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError((done.stderr.strip() or f"exit code {done.returncode}").splitlines()[-1])
    files = [] if "--data" in line else files_of(row_file(line[4], line[5]))
    return {str(path): path.read_text("utf-8") for path in files}
