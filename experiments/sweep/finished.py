"""Finished experiments, which DVC keeps as Git references: finding and adding them."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.sweep.commands import call
from experiments.sweep.spec import RowSpec, run_settings
from fdpo.config.params import Params
from fdpo.core.errors import UserError
from fdpo.config.params import load_params

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


def made_in(clone: Path, name: str) -> Experiment:
    """The experiment of this name that was just run from the last commit of a clone.

    Raises `UserError` when DVC has kept none.
    """
    baseline = call("git", "rev-parse", "HEAD", cwd=clone)
    ref = f"refs/exps/{baseline[:2]}/{baseline[2:]}/{name}"
    return Experiment(call("git", "rev-parse", "--verify", ref, cwd=clone), ref)


def keep(experiment: Experiment, clone: Path) -> None:
    """Fetch an experiment of the clone, in place of one of the same name and commit."""
    call("git", "fetch", "--quiet", str(clone), f"+{experiment.ref}:{experiment.ref}")


def params_at(commit: str) -> Params:
    """params.yaml as committed. Raises `UserError` where it has problems."""
    text = call("git", "show", f"{commit}:params.yaml")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "params.yaml")
        file.write_text(text + "\n", encoding="utf-8", errors="surrogateescape")
        try:
            return load_params(file)
        except UserError as error:
            committed = f"params.yaml in commit {commit[:10]}"
            raise UserError(*(line.replace(str(file), committed) for line in error.lines)) from None


def changed(paths: tuple[str, ...], *commits: str) -> list[str]:
    """Files at these paths that differ between two commits, or one and the user's folder."""
    return call("git", "diff", "--name-only", *commits, "--", *paths).splitlines()


def check_files(rows: list[RowSpec], commit: str) -> None:
    """Raise `UserError` where a study names a file of the user's folder that `commit` lacks."""
    sources = {row.settings.study: row.settings.active.prepare for row in rows}
    for study, source in sources.items():
        for path in _paths(source.model_dump()):
            names = call("git", "ls-tree", "--name-only", commit, "--", path, f"{path}.dvc")
            if not Path(path).is_absolute() and not names:
                raise UserError(
                    f"studies.{study}.prepare: {path} is not in the last commit, from which rows"
                    f" run; add and commit it, or if it is large `dvc add {path}` and commit that"
                )


def _paths(section: Any) -> Iterator[str]:
    """The values of every key `path` within a section."""
    for key, value in section.items() if isinstance(section, dict) else ():
        if key == "path" and isinstance(value, str):
            yield value
        else:
            yield from _paths(value)
