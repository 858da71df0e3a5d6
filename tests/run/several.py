"""Run stages one after another in the processes of one launcher, to save its start.

    torchrun --standalone --nproc-per-node=2 -m tests.run.several generate train killed

`killed` is a generation in which the process that is not the main one dies by SIGKILL.
"""

import importlib
import os
import signal
import sys

from fdpo.decoding import completions
from fdpo.run import processes


def main() -> None:
    for name in sys.argv[1:]:
        if name == "killed":
            completions.complete = dying(completions.complete)
            name = "generate"
        importlib.import_module(f"stages.{name}").main()


def dying(work):
    """`work`, whose third batch is the death of the process that is not the main one."""
    done = []

    def until_death(*arguments):
        done.append(1)
        if len(done) == 3 and not processes.is_main():
            os.kill(os.getpid(), signal.SIGKILL)
        return work(*arguments)

    return until_death


if __name__ == "__main__":
    processes.run("train", main)
