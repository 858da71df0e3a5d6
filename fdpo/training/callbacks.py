"""What is shown and kept while training: curves as files and in a logbook, and the progress."""

from pathlib import Path

from dvclive import Live
from transformers import TrainerCallback

from fdpo.run.progress import Progress, progress_of
from fdpo.run.tracking import Logbook
from fdpo.training.curves import LOGGED_CURVES


def _curves(logs: dict[str, float]) -> dict[str, float]:
    return {curve: logs[name] for name, curve in LOGGED_CURVES.items() if name in logs}


class CurveFiles(TrainerCallback):
    """Writes the logged values of `LOGGED_CURVES` to `folder`/plots/metrics, one TSV per curve."""

    def __init__(self, folder: str | Path):
        self.live = Live(str(folder), save_dvc_exp=False, dvcyaml=None)

    def on_train_begin(self, args, state, control, **_) -> None:
        """Write what the run that this one resumes had logged."""
        self.live.make_summary()
        for logs in state.log_history:
            self._add(logs["step"], logs)

    def on_log(self, args, state, control, logs=None, **_) -> None:
        """Write the values of a step."""
        self._add(state.global_step, logs or {})

    def _add(self, step: int, logs: dict[str, float]) -> None:
        self.live.step = step
        for curve, value in _curves(logs).items():
            self.live.log_metric(curve, value)
        self.live.make_summary()


class CurveLogbook(TrainerCallback):
    """Writes the same values to a logbook.

    Transformers' WandbCallback has names of its own for them, adds clocks and counts, and lets an
    error of wandb end the training.
    """

    def __init__(self, book: Logbook):
        self.book = book

    def on_log(self, args, state, control, logs=None, **_) -> None:
        """Write the values of a step."""
        self.book.curves(_curves(logs or {}), state.global_step)


class StopAfter(TrainerCallback):
    """Ends training after `steps`, whose learning rates stay those of the whole run.

    `max_steps` of Transformers would let the rate fall to 0 by then.
    """

    def __init__(self, steps: int):
        self.steps = steps

    def on_step_end(self, args, state, control, **_) -> None:
        """Stop if it is time."""
        control.should_training_stop |= state.global_step >= self.steps


class TrainingProgress(TrainerCallback):
    """Shows the steps done, the loss and the time left.

    Transformers' ProgressCallback has no name, prints all that is logged and writes its bar into
    logs too.
    """

    def __init__(self) -> None:
        self._shown: Progress | None = None

    def on_train_begin(self, args, state, control, **_) -> None:
        """Begin with the steps of the run that this one resumes."""
        main = state.is_world_process_zero
        self._shown = progress_of("train", state.max_steps, "steps", state.global_step, shown=main)

    def on_step_end(self, args, state, control, **_) -> None:
        """Count the step."""
        if self._shown is not None:
            self._shown.update(1)

    def on_log(self, args, state, control, logs=None, **_) -> None:
        """Note the loss."""
        if self._shown is not None and logs and "loss" in logs:
            self._shown.note(f"loss {logs['loss']:.3g}")

    def on_train_end(self, args, state, control, **_) -> None:
        """End the bar."""
        if self._shown is not None:
            self._shown.close()
