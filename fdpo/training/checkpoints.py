"""Training checkpoints: whole or absent, the newest two, at a bounded cost.

Transformers' Trainer writes them (adapter, optimiser, schedule, random states, position) and
resumes from them. Its `torch.load` reads tensors and plain values alone (`weights_only`), and only
ever what an earlier run of this stage wrote in its own folder. A manifest beside them has the
SHA-256 of every file; a checkpoint that disagrees with it is not used.
"""

import os
import shutil
import time
from pathlib import Path

from transformers import TrainerCallback

from fdpo.core.errors import UserError
from fdpo.core.files import read_json, sha256, write_json
from fdpo.run import processes

KEEP = 2
SPACING = 50  # a checkpoint after 50 times as long as the last one took: at most 2 % of the time
MANIFEST = "manifest.json"


def scratch(work: Path) -> Path:
    """An empty folder in `work`, for the Trainer to write in: its `output_dir`."""
    folder = work / "writing"
    if processes.is_main():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
    processes.wait()
    return folder


def newest(work: Path) -> str | None:
    """The newest undamaged checkpoint in `work`, for `Trainer.train(resume_from_checkpoint=…)`.

    Damaged ones are removed, each with a line that says so.
    """
    path = None
    if processes.is_main():
        for checkpoint in reversed(_checkpoints(work)):
            if damaged := _damaged(checkpoint):
                print(f"train: {checkpoint} is damaged ({damaged}) and not used", flush=True)
                shutil.rmtree(checkpoint)
            else:
                path = str(checkpoint)
                break
    return processes.from_main(path)


def _damaged(checkpoint: Path) -> str | None:
    """The name of a file that is not as it was written, or None."""
    try:
        stated = read_json(checkpoint / MANIFEST)
    except UserError:
        return MANIFEST
    found = _digests(checkpoint)
    if not isinstance(stated, dict):
        return MANIFEST
    differing = [name for name in {**stated, **found} if stated.get(name) != found.get(name)]
    return min(differing, default=None)


def _digests(checkpoint: Path) -> dict[str, str]:
    """The SHA-256 of each file of a checkpoint but the manifest."""
    digests = {}
    for path in sorted(checkpoint.rglob("*")):
        name = path.relative_to(checkpoint).as_posix()
        if path.is_file() and name != MANIFEST:
            digests[name] = sha256(path)
    return digests


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
        """Say where a resumed training goes on."""
        if state.global_step and state.is_world_process_zero:
            print(f"train: goes on after step {state.global_step}", flush=True)

    def on_step_end(self, args, state, control, **_) -> None:
        """Save if it is time, but not at an epoch's last step."""
        if not state.epoch.is_integer():
            self._decide(state, control)

    def on_epoch_end(self, args, state, control, **_) -> None:
        """Save if it is time."""
        self._decide(state, control)

    def on_evaluate(self, *_, **__) -> None:
        """Take the time an evaluation took out of that of the checkpoint after it."""
        self.started = time.monotonic()

    def on_save(self, args, state, control, **_) -> None:
        """Put a complete checkpoint with its manifest in its place and remove the oldest."""
        processes.wait()  # each process writes its own random state
        if state.is_world_process_zero:
            name = f"checkpoint-{state.global_step}"
            written = Path(args.output_dir, name)
            write_json(written / MANIFEST, _digests(written))
            os.replace(written, self.work / name)
            for old in _checkpoints(self.work)[:-KEEP]:
                shutil.rmtree(old)
        self.saved = time.monotonic()
        self.cost = self.saved - self.started

    def _decide(self, state, control) -> None:
        self.started = time.monotonic()
        logged = state.global_step % state.logging_steps == 0
        due = self.started - self.saved >= SPACING * self.cost
        if logged:  # which every process finds alike; their clocks differ
            control.should_save = processes.from_main(due)


def _checkpoints(work: Path) -> list[Path]:
    """The checkpoints in `work`, oldest first."""
    steps = {path: path.name.removeprefix("checkpoint-") for path in work.glob("checkpoint-*")}
    named = [path for path, step in steps.items() if step.isdecimal() and path.is_dir()]
    return sorted(named, key=lambda path: int(steps[path]))
