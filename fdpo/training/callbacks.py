"""What is shown and kept while training: curves as files and in a logbook, and a progress bar."""

from pathlib import Path

from dvclive import Live
from transformers import ProgressCallback, TrainerCallback

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


class Progress(ProgressCallback):
    """A progress bar, without a line for everything that is logged."""

    def on_log(self, *_, **__) -> None:
        """Nothing: the curves have it."""
