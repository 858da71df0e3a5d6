"""What is shown and kept while training: curves as files and in a logbook, and the progress."""

from pathlib import Path

from dvclive import Live
from transformers import TrainerCallback

from fdpo.run.progress import Progress, progress_of
from fdpo.run.tracking import Logbook
from fdpo.training.curves import LOGGED_CURVES


class CurveFiles(TrainerCallback):
    """Writes the logged values of `LOGGED_CURVES` to `folder`/plots/metrics, one TSV per curve."""

    def __init__(self, folder: str | Path):
        self.live = Live(str(folder), save_dvc_exp=False, dvcyaml=None)

    def on_train_begin(self, args, state, control, **_) -> None:
        """Write what the run that this one resumes had logged."""
        for logs in state.log_history:
            self._add(logs["step"], logs)

    def on_log(self, args, state, control, logs=None, **_) -> None:
        """Write the values of a step."""
        self._add(state.global_step, logs or {})

    def _add(self, step: int, logs: dict[str, float]) -> None:
        self.live.step = step
        for name, curve in LOGGED_CURVES.items():  # a resumed run's history has another order
            if name in logs:
                self.live.log_metric(curve, logs[name])
        self.live.make_summary()


class CurveLogbook(TrainerCallback):
    """Writes the same values to a logbook.

    Transformers' WandbCallback has names of its own for them, adds clocks and counts, puts all of
    its arguments among the params and lets an error of wandb end the training.
    """

    def __init__(self, book: Logbook):
        self.book = book

    def on_log(self, args, state, control, logs=None, **_) -> None:
        """Write the values of a step."""
        curves = {
            LOGGED_CURVES[name]: value
            for name, value in (logs or {}).items()
            if name in LOGGED_CURVES
        }
        self.book.curves(curves, state.global_step)


class TrainingProgress(TrainerCallback):
    """Shows the steps done, the loss and the time left, and the test pairs of each evaluation.

    Transformers' ProgressCallback has no name, prints all that is logged and writes its bar into
    logs too.
    """

    def __init__(self) -> None:
        self._training: Progress | None = None
        self._evaluation: Progress | None = None

    def on_train_begin(self, args, state, control, **_) -> None:
        """Begin with the steps of the run that this one resumes."""
        main = state.is_world_process_zero
        self._training = progress_of(
            "train", state.max_steps, "steps", state.global_step, shown=main
        )

    def on_step_end(self, args, state, control, **_) -> None:
        """Count the step."""
        if self._training:
            self._training.update(1)

    def on_log(self, args, state, control, logs=None, **_) -> None:
        """Note the loss."""
        if self._training and logs and "loss" in logs:
            self._training.note(f"loss {logs['loss']:.3g}")

    def on_prediction_step(self, args, state, control, eval_dataloader=None, **_) -> None:
        """Count the pairs of an evaluation's step; the last may have fewer."""
        pairs = len(eval_dataloader.dataset)
        if self._evaluation is None:
            main = state.is_world_process_zero
            self._evaluated = 0
            self._evaluation = progress_of("test pairs", pairs, "pairs", leave=False, shown=main)
        count = min(args.per_device_eval_batch_size * args.world_size, pairs - self._evaluated)
        self._evaluated += count
        self._evaluation.update(count)

    def on_evaluate(self, args, state, control, **_) -> None:
        """End the evaluation."""
        if self._evaluation:
            self._evaluation.close()
        self._evaluation = None

    def on_train_end(self, args, state, control, **_) -> None:
        """End the training."""
        if self._training:
            self._training.close()
        self._training = None
