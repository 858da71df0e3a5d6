"""The training curves, under the names that TRL logs them by."""

# Over the pairs of a step: train/NAME. Everything else that Trainer logs is a clock or a count,
# different on every run.
STEP_CURVES = {
    "loss": "mean loss per pair",
    "rewards/chosen": "mean implicit reward β·g(ρ) of the chosen completions",
    "rewards/rejected": "mean implicit reward of the rejected completions",
    "rewards/margins": "mean of chosen minus rejected implicit reward",
    "rewards/accuracies": "share of pairs whose chosen completion has the higher one",
    "logps/chosen": "mean log π of the chosen completions, in nats; it may fall too (likelihood"
    " displacement)",
    "logps/rejected": "mean log π of the rejected completions, in nats",
    "grad_norm": "norm of the gradient before clipping",
    "learning_rate": "learning rate of the step",
}
# Over all test pairs, before, during and after training, where train.eval_every asks for it:
# eval/NAME. `fdpo.losses.capped` says which of them is a criterion.
TEST_PAIR_CURVES = {
    "loss": "mean loss per test pair",
    "loss_capped": "mean of each pair's loss, or twice the untrained policy's where that is less:"
    " a run that ends below its start has optimised its objective",
    "loss_median": "median loss of the test pairs",
    "loss_fell": "share of test pairs whose loss is below that of the untrained policy",
    "rewards/margins": "mean of chosen minus rejected implicit reward",
    "rewards/accuracies": "share of test pairs whose chosen completion has the higher one",
}
LOGGED_CURVES = {name: f"train/{name}" for name in STEP_CURVES} | {
    f"eval_{name}": f"eval/{name}" for name in TEST_PAIR_CURVES
}
