"""Run the committed pipeline again in a clone and compare with the committed results.

On a machine with the same arithmetic dvc.lock comes out the same, byte for byte. On another one
(other processor, other number of threads) a few sampled tokens differ, so the policy is trained on
slightly other pairs, and its metrics differ as those of another seed do. The committed intervals
are over prompts and hold no noise of training: metrics may lie outside of them. What must hold is
what the committed run found beyond noise: that the reward rose, say.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from experiments.metrics_io import read_metrics
from fdpo.core.errors import UserError, run
from stages import paths

LOCK = "dvc.lock"
# Metrics that say something by lying above or below a value, and that value.
FINDINGS = {"reward_difference": 0.0, "judge_difference": 0.0, "accuracy": 0.5}


def main(arguments: list[str] | None = None) -> None:
    """Run the last commit's pipeline in a clone and compare its results with the committed ones."""
    argparse.ArgumentParser(
        prog="experiments.verify", description=(__doc__ or "").split("\n")[0]
    ).parse_args(arguments)
    if subprocess.run(["git", "diff", "--quiet", "HEAD"], stderr=subprocess.DEVNULL).returncode:
        print("verify: the last commit is what is run; changes since then are not")
    # DVC's lock on the clone may be given back in the moment in which the folder goes.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        clone = Path(folder, "clone")
        call("git", "clone", "--quiet", ".", str(clone), cwd=".")
        if not (clone / LOCK).exists() or not (clone / paths.METRICS_WITH_INTERVALS).exists():
            raise UserError(
                f"{LOCK} and {paths.METRICS_WITH_INTERVALS}: not committed; commit a finished"
                " `dvc repro`"
            )
        committed_lock = (clone / LOCK).read_bytes()
        committed = read_metrics(clone)
        call(sys.executable, "-m", "dvc", "repro", "--force", cwd=clone)
        if (clone / LOCK).read_bytes() == committed_lock:
            print("verify: the same bytes: dvc.lock came out as committed")
            return
        found = read_metrics(clone)
    print("verify: other bytes than committed: this machine's arithmetic differs")
    if outside := beyond(committed, found):
        print(
            f"verify: {len(outside)} of {len(committed)} metrics lie beyond the committed 95 %"
            " intervals, which are over prompts: training differs, as with another seed"
        )
        for line in outside:
            print(f"  {line}")
    else:
        print(f"verify: all {len(committed)} metrics lie within the committed 95 % intervals")
    if missed := lost(committed, found):
        raise UserError("what the committed run found does not show here: " + "; ".join(missed))
    print("verify: what the committed run found beyond noise shows here too")


def beyond(committed: dict[str, Any], found: dict[str, Any]) -> list[str]:
    """The metrics whose new value lies outside the committed interval, described."""
    return [
        f"{name} = {found[name]['value']:.4g}, committed [{low:.4g}, {high:.4g}]"
        for name, interval in committed.items()
        if (low := interval["low"]) is not None
        and (high := interval["high"]) is not None
        and not low <= found[name]["value"] <= high
    ]


def lost(committed: dict[str, Any], found: dict[str, Any]) -> list[str]:
    """What the committed run found beyond noise and the new one does not, described."""
    return [
        f"{name} = {_stated(found[name])}, committed {_stated(committed[name])}"
        for name, null in FINDINGS.items()
        if name in committed
        and (side := _side(committed[name], null))
        and _side(found[name], null) != side
    ]


def _side(interval: dict[str, Any], null: float) -> int:
    """1 where an interval lies above a value, -1 below, 0 where it holds it or is none."""
    low, high = interval["low"], interval["high"]
    return 0 if low is None or high is None else int(low > null) - int(high < null)


def _stated(interval: dict[str, Any]) -> str:
    low, high = interval["low"], interval["high"]
    bounds = "no interval" if low is None or high is None else f"[{low:.4g}, {high:.4g}]"
    return f"{interval['value']:.4g} {bounds}"


def call(*command: str, cwd: str | Path) -> None:
    """Run a command, its stages under this Python; its failure ends the check with one line."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    if subprocess.run(command, cwd=cwd, env={**os.environ, "PATH": path}).returncode:
        raise UserError(f"`{' '.join(command)}` failed; see its messages above")


if __name__ == "__main__":
    run(main)
