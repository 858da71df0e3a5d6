"""Sweeps killed at random moments and started again: no row may be lost, doubled or another's."""

import json
import os
import random
import time
from pathlib import Path

import yaml
from tests.support.trials import SIGNALS, Outcome

from tests.support import sweep_repo

SEEDS = (1, 2)


class SweepTrials:
    """A repository of quick stages; each trial has a sweep of its own, so nothing is cached."""

    def __init__(self, scratch: Path):
        self.repo = sweep_repo.make(scratch)
        self.count = 0
        begun = time.monotonic()
        self.finish(*self.new_sweep(random.Random(0)))  # noqa: S311 - moments, not secrets
        self.seconds = time.monotonic() - begun

    def new_sweep(self, draws: random.Random) -> tuple[str, dict[str, float]]:
        """Write a sweep of two rows with two seeds; its name, and beta by row."""
        self.count += 1
        name = f"trial{self.count}"
        sweep = yaml.safe_load(sweep_repo.SWEEP) | {"seeds": list(SEEDS), "prefix": f"{name}-"}
        for row in sweep["rows"]:
            row["beta"] = round(draws.uniform(0.2, 2), 6)
        path = f"experiments/sweeps/{name}.yaml"
        self.repo.write(path, yaml.safe_dump(sweep))
        betas = {f"{row['name']}-s{seed}": row["beta"] for row in sweep["rows"] for seed in SEEDS}
        return name, betas

    def trial(self, draws: random.Random) -> Outcome:
        """Kill a sweep one to three times, run it to its end, and look at every row."""
        name, betas = self.new_sweep(draws)
        kills = draws.randint(1, 3)
        jobs = draws.randint(1, 2)
        signals = [draws.choice(list(SIGNALS)) for _ in range(kills)]
        for number in signals:
            process = self.repo.start(name, jobs=jobs)
            after = draws.uniform(0, self.seconds)
            time.sleep(after)
            os.kill(process.pid, SIGNALS[number])
            _, printed = process.communicate()
            assert "Traceback" not in printed, printed
        before = len(self.kept(name))
        self.finish(name, betas, jobs)
        how = f"{jobs} at once, {kills} kills"
        return Outcome("sweep", how, after, f"{before} rows", before > 0)

    def kept(self, name: str) -> dict[str, dict]:
        """The rows that the sweep's results have."""
        path = self.repo.folder / f"experiments/results/{name}.json"
        return json.loads(path.read_text(encoding="utf-8"))["rows"] if path.exists() else {}

    def finish(self, name: str, betas: dict[str, float], jobs: int = 1) -> None:
        """Run the sweep to its end: every row is there once, with its own numbers."""
        process = self.repo.start(name, jobs=jobs)
        printed, failed = process.communicate()
        assert process.returncode == 0, printed + failed
        rows = self.kept(name)
        assert sorted(rows) == sorted(betas)
        for row, beta in betas.items():
            seed = int(row.rpartition("-s")[2])
            assert rows[row]["params"]["beta"] == beta
            assert rows[row]["metrics"]["reward"]["value"] == beta + seed
            assert len(self.experiments(f"{name}-{row}")) == 1
        assert not (self.repo.folder / ".dvc/tmp/sweeps/clones").exists()
        assert self.repo.call("git", "status", "--porcelain", "--untracked-files=no") == ""

    def experiments(self, name: str) -> list[str]:
        """The references of the experiments of this name."""
        return self.repo.call("git", "for-each-ref", f"refs/exps/??/*/{name}").splitlines()
