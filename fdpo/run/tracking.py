"""An optional logbook of training and evaluation: a Weights & Biases run.

wandb's own environment variables choose it: it is off, and wandb not imported here, unless
WANDB_API_KEY or WANDB_MODE is set. No output and none of DVC's keys depends on it, and what
goes wrong with it ends in a warning.
"""

import hashlib
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fdpo.config.params import Params
from fdpo.core.files import sha256
from fdpo.core.records import SamplesOfPrompt
from fdpo.run.stage import deps

# The environment may say otherwise, in these and in all that wandb reads.
DEFAULTS = {
    "WANDB_PROJECT": "f-dpo",  # wandb's is the folder's name, a random one in `--temp` runs
    "WANDB_INIT_TIMEOUT": "10",  # seconds; wandb's is 90, a long wait without a network
    "WANDB_LOGIN_TIMEOUT": "10",  # where it would ask a terminal for the key, for ever
    "WANDB_FINISH_TIMEOUT": "60",  # wandb waits for ever if the network went away meanwhile
    "WANDB_FINISH_TIMEOUT_RAISES": "true",  # so that it becomes a warning
    "WANDB_ERROR_REPORTING": "false",  # offline is offline
    "WANDB_SILENT": "true",  # a line from us instead of its dozen
    "WANDB_CONSOLE": "off",  # no copy of what is printed
}
UPLOAD = "WANDB_LOG_MODEL"  # Transformers' own variable for the same wish
FALSE = ("", "0", "false", "no")
SAMPLE_COLUMNS = ["id", "prompt", "model", "text", "reward", "judge"]


class Logbook:
    """A wandb run to write into, or nothing. The first failure closes it with a warning."""

    def __init__(self, run: Any = None):
        self._run = run

    def curves(self, values: dict[str, float], step: int) -> None:
        """Log the values of one training step."""
        self._try(lambda run: run.log(values, step=step))

    def results(self, metrics: dict[str, Any], samples: Iterable[SamplesOfPrompt]) -> None:
        """Log final metrics, as the run's summary, and a table with a row per completion."""

        def write(run: Any) -> None:
            import wandb

            run.summary.update(metrics)
            rows = [
                {"id": row.id, "prompt": row.prompt, "model": model, **completion.model_dump()}
                for row in samples
                for model, completions in (("reference", row.reference), ("policy", row.policy))
                for completion in completions
            ]
            columns = [name for name in SAMPLE_COLUMNS if all(name in row for row in rows)]
            data = [[row[column] for column in columns] for row in rows]
            run.log({"samples": wandb.Table(columns=[*columns], data=data)})

        self._try(write)

    def policy(self, folder: Path, settings: Params) -> None:
        """Keep the policy in `folder` as a version of the study's artifact, where that is asked.

        The variable WANDB_LOG_MODEL asks for it. Alias: the DVC experiment's name, if it has one.
        """
        if os.environ.get(UPLOAD, "").lower() in FALSE:
            return

        def write(run: Any) -> None:
            import wandb

            artifact = wandb.Artifact(
                f"policy-{settings.study}", type="model", metadata=settings.trained_with
            )
            artifact.add_dir(str(folder))
            run.log_artifact(artifact, aliases=[os.environ.get("DVC_EXP_NAME") or run.id])

        self._try(write)

    def _try(self, use: Callable[[Any], None]) -> None:
        if self._run is None:
            return
        try:
            use(self._run)
        except Exception as error:  # of a dozen kinds; none may end the stage
            written, self._run = self._run.settings.sync_dir, None
            _warn(error, f"`wandb sync {written}` sends what it had")


@contextmanager
def logbook(settings: Params) -> Iterator[Logbook]:
    """The logbook of the policy that `settings` train, closed when the block ends."""
    book = Logbook(_start(settings) if _wanted() else None)
    exit_code = 1
    try:
        yield book
        exit_code = 0
    finally:
        book._try(lambda run: run.finish(exit_code))


def _wanted() -> bool:
    chosen = os.environ.get("WANDB_MODE") or os.environ.get("WANDB_API_KEY")
    disabled = os.environ.get("WANDB_DISABLED", "").lower() not in FALSE
    main_process = os.environ.get("RANK", "0") == "0"
    return main_process and not disabled and chosen not in (None, "", "disabled")


def _start(settings: Params) -> Any:
    """The policy's run; offline where the server cannot be had, and None where that fails."""
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)
    try:
        import wandb

        options: dict[str, Any] = {
            "id": run_id(settings),
            "resume": "allow",  # evaluation writes into the run that training began
            "name": os.environ.get("DVC_EXP_NAME"),
            "group": os.environ.get("DVC_EXP_BASELINE_REV", "")[:7] or None,
            "job_type": "train-and-evaluate",
            "tags": [settings.study, settings.loss, "f-dpo"],
            "dir": Path(os.environ.get("DVC_ROOT", "."), os.environ.get("WANDB_DIR", "")),
            "config": config(settings),
        }
        try:
            run = wandb.init(**options)
        except Exception as error:  # no network, a rejected key, no key
            _warn(error, "the run is kept offline; `wandb sync` sends it later")
            wandb.teardown()  # the failed run holds its id
            run = wandb.init(mode="offline", **options)
    except Exception as error:
        _warn(error, "no run is kept")
        return None
    print(f"wandb: {run.url or run.settings.sync_dir}", file=sys.stderr)
    return run


def config(settings: Params) -> dict[str, Any]:
    """The params and the active study, with the learning rate that is used."""
    knobs = settings.model_dump(exclude={"active"}) | {"lr": settings.effective_lr}
    return knobs | settings.active.model_dump()


def run_id(settings: Params) -> str:
    """A hash of what a policy follows from, so that its training and evaluation agree on it.

    That is the settings of training, and among its deps in dvc.yaml the files, such as the pairs.
    """
    known = config(settings)
    kept = ("study", "seed", "loss", "beta", "alpha", "lr", "train")
    digest = hashlib.sha256(json.dumps([known[name] for name in kept], sort_keys=True).encode())
    for path in sorted(deps("train")):
        if path.is_file():
            digest.update(bytes.fromhex(sha256(path)))
    return digest.hexdigest()[:16]


def _warn(error: Exception, consequence: str) -> None:
    problem = " ".join(str(error).split()) or type(error).__name__
    problem = problem.replace(os.environ.get("WANDB_API_KEY") or "\0", "***")
    print(f"warning: Weights & Biases: {problem}; {consequence}", file=sys.stderr)
