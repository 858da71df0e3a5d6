"""Training curves through DVCLive, for `dvc plots`."""

from pathlib import Path

from dvclive import Live
from transformers import ProgressCallback, TrainerCallback

from fdpo.run.tracking import Logbook

# TRL's names to ours. Everything else it logs is a clock or a count, different on every run.
CURVES = {
    "loss": "train/loss",
    "grad_norm": "train/grad_norm",
    "learning_rate": "train/lr",
    "rewards/margins": "train/margin",
    "rewards/accuracies": "train/accuracy",
    "eval_loss": "test/loss",
    "eval_rewards/margins": "test/margin",
    "eval_rewards/accuracies": "test/accuracy",
}


class Curves(TrainerCallback):
    """Writes the logged values of `CURVES` to `folder`/plots/metrics, a TSV a curve."""

    def __init__(self, folder: str | Path):
        self.live = Live(str(folder), save_dvc_exp=False, dvcyaml=None)

    def on_train_begin(self, args, state, control, **_) -> None:
        for logs in state.log_history:  # of the run that this one resumes
            self._add(logs["step"], logs)

    def on_log(self, args, state, control, logs=None, **_) -> None:
        self._add(state.global_step, logs or {})

    def _add(self, step: int, logs: dict[str, float]) -> None:
        self.live.step = step
        for name, curve in CURVES.items():  # a resumed run's history has another order
            if name in logs:
                self.live.log_metric(curve, logs[name])
        self.live.make_summary()


class Tracked(TrainerCallback):
    """Writes the same values to a logbook.

    Transformers' WandbCallback has names of its own for them, adds clocks and counts, puts all of
    its arguments among the params and lets an error of wandb end the training.
    """

    def __init__(self, book: Logbook):
        self.book = book

    def on_log(self, args, state, control, logs=None, **_) -> None:
        known = {CURVES[name]: value for name, value in (logs or {}).items() if name in CURVES}
        self.book.curves(known, state.global_step)


class Progress(ProgressCallback):
    """A bar without a line for everything logged."""

    def on_log(self, *_, **__) -> None:
        pass
