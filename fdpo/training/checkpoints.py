"""Training checkpoints: whole or absent, the newest two, at a bounded cost.

Transformers' Trainer writes them (adapter, optimiser, schedule, random states, position) and
resumes from them. One counts only when it is complete: it is written elsewhere, then renamed.
"""

import os
import shutil
import time
from pathlib import Path

from transformers import TrainerCallback

from fdpo.run import processes

KEEP = 2
SPACING = 50  # a checkpoint after 50 times as long as the last one took: at most 2 % of the time


def scratch(work: Path) -> Path:
    """An empty folder in `work`, for the Trainer to write in: its `output_dir`."""
    folder = work / "writing"
    if processes.is_main():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    processes.wait()
    return folder


def newest(work: Path) -> str | None:
    """The newest checkpoint in `work`, for `Trainer.train(resume_from_checkpoint=…)`."""
    found = _checkpoints(work)
    return str(found[-1]) if found else None


class Checkpoints(TrainerCallback):
    """Decides when the Trainer saves, and moves what it wrote to `work` when it is complete.

    It saves at steps whose values have just been logged: the averages in progress at other steps
    are not in a checkpoint.
    """

    def __init__(self, work: Path):
        self.work = work
        self.cost = 0.0  # seconds that the last checkpoint took
        self.saved = self.started = time.monotonic()

    def on_train_begin(self, args, state, control, **_) -> None:
        """Say where a resumed training goes on."""
        if state.global_step and state.is_world_process_zero:
            print(f"train: goes on after step {state.global_step}", flush=True)

    def on_step_end(self, args, state, control, **_) -> None:
        """Save if it is time."""
        self.started = time.monotonic()
        due = self.started - self.saved >= SPACING * self.cost
        if state.global_step % state.logging_steps == 0:  # every process finds that alike
            control.should_save = processes.from_main(due)

    def on_save(self, args, state, control, **_) -> None:
        """Put a complete checkpoint in its place and remove the oldest."""
        processes.wait()  # each process writes its own random state
        if state.is_world_process_zero:
            name = f"checkpoint-{state.global_step}"
            os.replace(Path(args.output_dir, name), self.work / name)
            for old in _checkpoints(self.work)[:-KEEP]:
                shutil.rmtree(old)
        self.saved = time.monotonic()
        self.cost = self.saved - self.started


def _checkpoints(work: Path) -> list[Path]:
    """The checkpoints in `work`, oldest first."""
    return sorted(work.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
