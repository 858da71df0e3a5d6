"""Finished experiments, which DVC keeps as Git references: finding and adding them."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

from experiments.sweep.commands import call
from experiments.sweep.spec import RowSpec, run_settings
from fdpo.config.params import Params
from fdpo.core.errors import UserError
from fdpo.run.settings import load_params

CODE = ("dvc.yaml", "fdpo", "stages")  # what decides a run's numbers besides its params


@dataclass(frozen=True)
class Experiment:
    """A finished experiment."""

    commit: str
    ref: str  # refs/exps/, the baseline commit's digits 2/38, its name

    @property
    def baseline(self) -> str:
        """The commit it started from."""
        return "".join(self.ref.split("/")[2:4])


def find(row: RowSpec, commit: str) -> Experiment | None:
    """The newest experiment of the row's name that ran its params with the code of `commit`."""
    for experiment in named(row.experiment):
        try:
            settings = params_at(experiment.commit)
        except UserError:  # of an older layout of params.yaml
            continue
        same_params = run_settings(settings) == run_settings(row.settings)
        if same_params and not changed(CODE, experiment.commit, commit):
            return experiment
    return None


def named(name: str) -> list[Experiment]:
    """The experiments of this name from any commit, the newest first."""
    form = "--format=%(objectname) %(refname)"
    listed = call("git", "for-each-ref", "--sort=-committerdate", form, f"refs/exps/??/*/{name}")
    return [Experiment(*line.split()) for line in listed.splitlines()]


def made_in(folder: Path, name: str) -> Experiment:
    """The experiment of this name that was just run from the last commit of a clone."""
    baseline = call("git", "rev-parse", "HEAD", cwd=folder)
    ref = f"refs/exps/{baseline[:2]}/{baseline[2:]}/{name}"
    return Experiment(call("git", "rev-parse", ref, cwd=folder), ref)


def keep(experiment: Experiment, clone: Path) -> None:
    """Fetch an experiment of the clone, in place of one of the same name and commit."""
    call("git", "fetch", "--quiet", str(clone), f"+{experiment.ref}:{experiment.ref}")


def params_at(commit: str) -> Params:
    """params.yaml as committed."""
    text = call("git", "show", f"{commit}:params.yaml")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "params.yaml")
        file.write_text(text + "\n", encoding="utf-8")
        return load_params(file)


def changed(paths: tuple[str, ...], *commits: str) -> list[str]:
    """Files at these paths that differ between two commits, or one and the user's folder."""
    return call("git", "diff", "--name-only", *commits, "--", *paths).splitlines()
