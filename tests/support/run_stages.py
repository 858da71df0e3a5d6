"""Run stages one after another in the processes of one launcher, to save its start.

    torchrun --standalone --nproc-per-node=2 -m tests.support.run_stages generate train killed

`killed` is a generation in which the process that is not the main one dies by SIGKILL.
"""

import importlib
import os
import signal
import sys
from pathlib import Path

from fdpo.decoding import completions
from fdpo.run import processes


def main() -> None:
    for name in sys.argv[1:]:
        if name == "killed":
            completions.complete = dying(completions.complete, batches=3)
            name = "generate"
        importlib.import_module(f"stages.{name}").main()


def dying(work, batches: int):
    """`work`, but for a process that is not the main one the last of `batches` is its death."""
    done = []

    def until_death(*arguments):
        done.append(1)
        if len(done) == batches and not processes.is_main():
            Path("killed").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return work(*arguments)

    return until_death


if __name__ == "__main__":
    processes.run("train", main)
