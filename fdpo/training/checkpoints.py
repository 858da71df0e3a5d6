"""Training checkpoints: whole or absent, the newest two, at a bounded cost.

Transformers' Trainer writes them (adapter, optimiser, schedule, random states, position) and
resumes from them. Its `torch.load` reads tensors and plain values alone (`weights_only`), and only
ever what an earlier run of this stage wrote in its own folder.
"""

import os
import shutil
import time
from pathlib import Path

from transformers import TrainerCallback
from transformers.trainer_utils import get_last_checkpoint

from fdpo.core.files import sync
from fdpo.run import processes

KEEP = 2
SPACING = 50  # a checkpoint after 50 times as long as the last one took: at most 2 % of the time


def scratch(work: Path) -> Path:
    """An empty folder in `work`, for the Trainer to write in: its `output_dir`."""
    folder = work / "writing"
    if processes.is_main():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
    processes.wait()
    return folder


def newest(work: Path) -> str | None:
    """The newest checkpoint in `work`, for `Trainer.train(resume_from_checkpoint=…)`."""
    return get_last_checkpoint(str(work))


class Checkpoints(TrainerCallback):
    """Decides when the Trainer saves, and moves what it wrote to `work` when it is complete.

    It saves at steps whose values have just been logged: the averages in progress at other steps
    are not in a checkpoint. For the same reason the last step of an epoch waits for its evaluation.
    """

    def __init__(self, work: Path):
        self.work = work
        self.cost = 0.0  # seconds that the last checkpoint took
        self.saved = self.started = time.monotonic()

    def on_train_begin(self, args, state, control, **_) -> None:
        """Say it when a run goes on from a checkpoint."""
        if state.global_step and state.is_world_process_zero:
            print(f"train: goes on after step {state.global_step}", flush=True)

    def on_step_end(self, args, state, control, **_) -> None:
        """Save within an epoch, where it is due."""
        if not state.epoch.is_integer():
            self._decide(state, control)

    def on_epoch_end(self, args, state, control, **_) -> None:
        """Save at the end of an epoch, where it is due."""
        self._decide(state, control)

    def on_evaluate(self, *_, **__) -> None:
        """Leave evaluation out of what a checkpoint costs."""
        self.started = time.monotonic()

    def on_save(self, args, state, control, **_) -> None:
        """Move the complete checkpoint to `work`, and remove old ones."""
        processes.wait()  # each process writes its own random state
        if state.is_world_process_zero:
            name = f"checkpoint-{state.global_step}"
            sync(Path(args.output_dir, name))
            os.replace(Path(args.output_dir, name), self.work / name)
            for old in sorted(self.work.glob("checkpoint-*"), key=_step)[:-KEEP]:
                shutil.rmtree(old)
        self.saved = time.monotonic()
        self.cost = self.saved - self.started

    def _decide(self, state, control) -> None:
        self.started = time.monotonic()
        logged = state.global_step % state.logging_steps == 0
        due = self.started - self.saved >= SPACING * self.cost
        if logged:  # which every process finds alike; their clocks differ
            control.should_save = processes.from_main(due)


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name.removeprefix("checkpoint-"))
