"""The training curves, under the names that TRL logs them by."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Curve:
    """A value that is logged while training, over the pairs of a step or over all test pairs."""

    name: str
    """TRL's name; the curve is train/NAME, and eval/NAME over the test pairs."""
    meaning: str
    in_evaluation: bool = True


TRAINING_CURVES = (
    Curve("loss", "mean loss per pair"),
    Curve("rewards/chosen", "mean implicit reward β·g(ρ) of the chosen completions"),
    Curve("rewards/rejected", "mean implicit reward of the rejected completions"),
    Curve("rewards/margins", "mean of chosen minus rejected implicit reward"),
    Curve("rewards/accuracies", "share of pairs whose chosen completion has the higher one"),
    Curve(
        "logps/chosen",
        "mean log π of the chosen completions, in nats; it may fall too (likelihood displacement)",
    ),
    Curve("logps/rejected", "mean log π of the rejected completions, in nats"),
    Curve("grad_norm", "norm of the gradient before clipping", in_evaluation=False),
    Curve("learning_rate", "learning rate of the step", in_evaluation=False),
)

# Trainer's names to the curves'. Everything else it logs is a clock or a count, different on every
# run.
LOGGED_CURVES = {curve.name: f"train/{curve.name}" for curve in TRAINING_CURVES} | {
    f"eval_{curve.name}": f"eval/{curve.name}" for curve in TRAINING_CURVES if curve.in_evaluation
}
