"""Kill generate, train and evaluate, damage what they left, run them again, compare every byte.

    python -m tests.kill_trials                         # 20 of each stage and signal, 3 min to 1 h
    python -m tests.kill_trials --operations 20         # also at file operations, 20 of each stage
    python -m tests.kill_trials --damages 20            # also with 20 damaged files of each stage
    python -m tests.kill_trials --through-dvc 1         # also in dvc repro and dvc exp run --temp
    python -m tests.kill_trials --chains 10             # also DVC killed several times in a row
    python -m tests.kill_trials --two-runs 20           # also two dvc exp run at once in one clone
    python -m tests.kill_trials --two-quick-runs 60     # the same with stages of a moment
    python -m tests.kill_trials --sweeps 15             # also sweeps, each killed up to 3 times
    python -m tests.kill_trials --finished . --trials 1 # the default study, after `make repro`

Ends with a table of what was proved, or with the first run that differed.
"""

import argparse
import random
import shutil
import signal
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tests.support import clone as cloning
from tests.support import dvc_trials, two_stage_repo
from tests.support.clone import Clone
from tests.support.sweep_trials import SweepTrials
from tests.support.trials import (
    OUTPUTS,
    SIGNALS,
    Outcome,
    Workspace,
    damage_trial,
    operation_trial,
    prepared,
    trial,
)
from tests.support.two_runs import two_runs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--trials", type=int, default=20, help="of each stage and signal")
    parser.add_argument("--operations", type=int, default=0, help="killed at as many of each stage")
    parser.add_argument("--damages", type=int, default=0, help="to as many files of each stage")
    parser.add_argument("--chains", type=int, default=0, help="of kills of DVC, of each stage")
    parser.add_argument("--two-runs", type=int, default=0, help="as often, at random distances")
    parser.add_argument("--two-quick-runs", type=int, default=0, help="of quick stages")
    parser.add_argument("--sweeps", type=int, default=0, help="as many, of quick stages")
    parser.add_argument("--through-dvc", type=int, default=0, help="as many in repro and in --temp")
    parser.add_argument("--finished", type=Path, help="a clone whose pipeline has run, to copy")
    parser.add_argument("--stages", nargs="+", choices=list(OUTPUTS), default=list(OUTPUTS))
    parser.add_argument("--signals", nargs="+", choices=list(SIGNALS), default=list(SIGNALS))
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    options = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it
    draws = random.Random(options.seed)  # noqa: S311 - moments, not secrets
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        outcomes = []
        for outcome in run(Path(scratch), options, draws):
            outcomes.append(outcome)
            print(*vars(outcome).values(), sep="\t", flush=True)
    print(table(outcomes))


def run(scratch: Path, options: argparse.Namespace, draws: random.Random) -> Iterator[Outcome]:
    killed = (options.trials, options.operations, options.damages)
    if any((*killed, options.through_dvc, options.chains, options.two_runs)):
        yield from of_real_stages(scratch, options, draws)
    if options.two_quick_runs:
        (scratch / "quick").mkdir()
        quick = two_stage_repo.make(scratch / "quick")
        for _ in range(options.two_quick_runs):
            yield two_runs(quick, dvc_trials.DVC_SECONDS, draws)
    if options.sweeps:
        sweeps = SweepTrials(scratch / "sweeps")
        for _ in range(options.sweeps):
            yield sweeps.trial(draws)


def of_real_stages(
    scratch: Path, options: argparse.Namespace, draws: random.Random
) -> Iterator[Outcome]:
    if options.finished:
        workspace = copied(options.finished, scratch)
        for stage in options.stages:
            workspace.learn(stage)
    else:
        workspace = prepared(cloning.make(scratch))
    for stage in options.stages:
        for _ in range(options.trials):
            for name in options.signals:
                yield trial(workspace, stage, name, draws)
        for _ in range(options.operations):
            yield operation_trial(workspace, stage, draws)
        for _ in range(options.damages):
            yield damage_trial(workspace, stage, draws)
    if options.through_dvc or options.chains or options.two_runs:
        dvc_trials.commit(workspace)
        for stage in options.stages:
            for _ in range(options.through_dvc):
                yield from dvc_trials.each(workspace, stage, draws)
            for _ in range(options.chains):
                yield dvc_trials.chain(workspace, stage, draws)
        seconds = (
            workspace.seconds["train"] + workspace.seconds["evaluate"] + dvc_trials.DVC_SECONDS
        )
        for _ in range(options.two_runs):
            yield two_runs(Clone(workspace.folder, workspace.environment), seconds, draws)


def copied(finished: Path, scratch: Path) -> Workspace:
    """The project's own study, with the inputs that `finished` made and today's code."""
    folder = scratch / "clone"
    folder.mkdir()
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copy(cloning.ROOT / name, folder)
    for name in ("fdpo", "stages"):
        shutil.copytree(cloning.ROOT / name, folder / name)
    for name in ("data", "models", "results"):
        shutil.copytree(finished / name, folder / name)
    return Workspace(folder, {"HF_HOME": str(scratch), "HF_HUB_OFFLINE": "1"}, spacing=None)


def table(outcomes: list[Outcome]) -> str:
    """How often each stage ended as it should after each way of being killed."""
    trials, resumed = Counter(), Counter()
    for outcome in outcomes:
        trials[outcome.stage, outcome.signal] += 1
        resumed[outcome.stage, outcome.signal] += outcome.went_on
    lines = [
        f"{stage:10}{signal:40}{count:4} as wanted, {resumed[stage, signal]:4} of them continued"
        for (stage, signal), count in trials.items()
    ]
    return "\n".join([*lines, f"{trials.total()} cases, none lost, none with other bytes"])


if __name__ == "__main__":
    main()
