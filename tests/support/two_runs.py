"""Two `dvc exp run -S` at once in one clone: the second changes params.yaml under the first."""

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

    Returns what became of them. Raises `AssertionError` for a record that lies.
    """
    clone = Clone(workspace.folder, workspace.environment)
    clone.git("checkout", "--quiet", "--force", "HEAD")
    clone.dvc("checkout", "--force", "--quiet")
    betas = [round(draws.uniform(0.2, 2), 6) for _ in range(2)]
    begun = time.monotonic()
    first = clone.start("exp", "run", "-S", f"beta={betas[0]}")
    distance = draws.uniform(0, draws.choice([4, 20]))
    time.sleep(distance)
    second = clone.start("exp", "run", "-S", f"beta={betas[1]}")
    printed = [process.communicate()[0] for process in (first, second)]
    ended = ["ran" if process.returncode == 0 else "refused" for process in (first, second)]
    for text in printed:
        assert "Traceback" not in text, text
    lies = list(untrue_records(clone))
    assert not lies, f"{lies} after {distance:.1f} s: {printed}"
    took = time.monotonic() - begun
    return Outcome("train", f"two runs: {', '.join(ended)}", distance, f"{took:.0f} s", False)


def untrue_records(clone: Clone) -> Iterator[str]:
    """Records of a training whose params are not those that its policy was trained with.

    They are those of dvc.lock, of every experiment and of the run cache. A policy that is not in
    the cache is one too.
    """
    records: dict[str, Any] = {"dvc.lock": yaml.safe_load(clone.bytes("dvc.lock"))["stages"]}
    for ref in clone.git("for-each-ref", "--format=%(refname)", "refs/exps/??").split():
        records[ref] = yaml.safe_load(clone.git("show", f"{ref}:dvc.lock"))["stages"]
    stages = {name: record["train"] for name, record in records.items() if "train" in record}
    for path in (clone.folder / CACHE / "runs").glob("*/*/*"):
        cached = yaml.safe_load(path.read_text(encoding="utf-8"))
        if "stages.train" in cached["cmd"]:
            stages[str(path)] = cached
    for name, stage in stages.items():
        recorded = stage["params"]["params.yaml"]["beta"]
        trained = _objective(clone, stage)
        if trained is None or trained["beta"] != recorded:
            yield f"{name}: beta {recorded}, policy {trained and trained['beta']}"


def _objective(clone: Clone, stage: dict[str, Any]) -> dict[str, Any] | None:
    """objective.json of the policy that a record names, from the cache."""
    (policy,) = [out for out in stage["outs"] if out["path"] == "models/policy"]
    try:
        files = json.loads(_cached(clone, policy["md5"]).read_text(encoding="utf-8"))
        (md5,) = [file["md5"] for file in files if file["relpath"] == "objective.json"]
        return json.loads(_cached(clone, md5).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None


def _cached(clone: Clone, md5: str) -> Path:
    return clone.folder / CACHE / "files/md5" / md5[:2] / md5[2:]
