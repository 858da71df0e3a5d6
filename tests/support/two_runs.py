"""Two `dvc exp run -S` at once in one clone, and what is recorded of them."""

import json
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tests.support.clone import Clone
from tests.support.trials import Outcome

CACHE = Path(".dvc/cache")


def two_runs(clone: Clone, seconds: float, draws: random.Random) -> Outcome:
    """Start two at a random distance; afterwards no record may claim other params than trained.

    The distance is up to the `seconds` that a run takes, often a short one. What runs next, with
    either value, ends with that value's results. Returns what became of the two. Raises
    `AssertionError` for a record that lies.
    """
    clone.git("checkout", "--quiet", "--force", "HEAD")
    clone.dvc("checkout", "--force", "--quiet")
    betas = [round(draws.uniform(0.2, 2), 6) for _ in range(2)]
    begun = time.monotonic()
    first = clone.start("exp", "run", "-S", f"beta={betas[0]}")
    distance = draws.uniform(0, draws.choice([4, seconds]))
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
    return Outcome("two runs", f"{' and '.join(ended)}", distance, f"{took:.0f} s", False)


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
    stages = [(name, stage) for name, lock in records.items() for stage in lock.values()]
    for path in (clone.folder / CACHE / "runs").glob("*/*/*"):
        stages.append((str(path), yaml.safe_load(path.read_text(encoding="utf-8"))))
    for name, stage in stages:
        files = stage.get("deps", []) + stage["outs"]
        policies = [file for file in files if file["path"] == "models/policy"]
        if not policies:
            continue
        recorded = stage["params"]["params.yaml"]["beta"]
        trained = _objective(clone, policies[0]["md5"])
        if trained is None or {trained["beta"]} != {recorded, shown.get(name, recorded)}:
            yield f"{name}: {stage['cmd']}: beta {recorded}, policy {trained and trained['beta']}"


def _objective(clone: Clone, policy: str) -> dict[str, Any] | None:
    """objective.json of the policy with this MD5, from the cache."""
    try:
        inside = json.loads(_cached(clone, policy).read_text(encoding="utf-8"))
        (md5,) = [file["md5"] for file in inside if file["relpath"] == "objective.json"]
        return json.loads(_cached(clone, md5).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None


def _cached(clone: Clone, md5: str) -> Path:
    return clone.folder / CACHE / "files/md5" / md5[:2] / md5[2:]
