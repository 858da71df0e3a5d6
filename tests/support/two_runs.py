"""Two `dvc exp run -S` at once in one clone, and what is recorded of them."""

import json
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tests.support.clone import Clone
from tests.support.trials import Outcome, Workspace

CACHE = Path(".dvc/cache")


def two_runs(workspace: Workspace, draws: random.Random) -> Outcome:
    """Start two at a random distance; afterwards no record may claim other params than trained.

    What runs next, with either value, ends with that value's results. Returns what became of the
    two. Raises `AssertionError` for a record that lies.
    """
    clone = Clone(workspace.folder, workspace.environment)
    clone.git("checkout", "--quiet", "--force", "HEAD")
    clone.dvc("checkout", "--force", "--quiet")
    betas = [round(draws.uniform(0.2, 2), 6) for _ in range(2)]
    begun = time.monotonic()
    first = clone.start("exp", "run", "-S", f"beta={betas[0]}")
    whole = workspace.seconds["train"] + workspace.seconds["evaluate"]
    distance = draws.uniform(0, draws.choice([4, 10 + whole]))
    time.sleep(distance)
    second = clone.start("exp", "run", "-S", f"beta={betas[1]}")
    printed = [process.communicate()[0] for process in (first, second)]
    ended = ["ran" if process.returncode == 0 else "refused" for process in (first, second)]
    for text in printed:
        assert "Traceback" not in text, text
    lies = list(untrue_records(clone))
    assert not lies, f"{lies} after {distance:.1f} s: {printed}"
    took = time.monotonic() - begun
    beta = draws.choice(betas)
    clone.dvc("exp", "run", "-S", f"beta={beta}")
    for path, key in (("models/policy/objective.json", "beta"), ("params.yaml", "beta")):
        assert yaml.safe_load(clone.bytes(path))[key] == beta, path
    lies = list(untrue_records(clone))
    assert not lies, lies
    return Outcome("train", f"two runs: {', '.join(ended)}", distance, f"{took:.0f} s", False)


def untrue_records(clone: Clone) -> Iterator[str]:
    """Records of train and evaluate with other params than their policy was trained with.

    They are those of dvc.lock, of every experiment and of the run cache, and the params.yaml of
    every experiment, which `dvc exp show` shows. A policy that is not in the cache is one too.
    """
    records: dict[str, Any] = {"dvc.lock": yaml.safe_load(clone.bytes("dvc.lock"))["stages"]}
    shown = {}
    for ref in clone.git("for-each-ref", "--format=%(refname)", "refs/exps/??").split():
        records[ref] = yaml.safe_load(clone.git("show", f"{ref}:dvc.lock"))["stages"]
        shown[ref] = yaml.safe_load(clone.git("show", f"{ref}:params.yaml"))["beta"]
    stages = [
        (name, record[stage])
        for name, record in records.items()
        for stage in ("train", "evaluate")
        if stage in record
    ]
    for path in (clone.folder / CACHE / "runs").glob("*/*/*"):
        cached = yaml.safe_load(path.read_text(encoding="utf-8"))
        if cached["cmd"].endswith(("stages.train", "stages.evaluate")):
            stages.append((str(path), cached))
    for name, stage in stages:
        recorded = stage["params"]["params.yaml"]["beta"]
        trained = _objective(clone, stage)
        if trained is None or {trained["beta"]} != {recorded, shown.get(name, recorded)}:
            yield f"{name}: {stage['cmd']}: beta {recorded}, policy {trained and trained['beta']}"


def _objective(clone: Clone, stage: dict[str, Any]) -> dict[str, Any] | None:
    """objective.json of the policy that a record names, from the cache."""
    files = stage["deps"] + stage["outs"]
    (policy,) = [file for file in files if file["path"] == "models/policy"]
    try:
        inside = json.loads(_cached(clone, policy["md5"]).read_text(encoding="utf-8"))
        (md5,) = [file["md5"] for file in inside if file["relpath"] == "objective.json"]
        return json.loads(_cached(clone, md5).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None


def _cached(clone: Clone, md5: str) -> Path:
    return clone.folder / CACHE / "files/md5" / md5[:2] / md5[2:]
