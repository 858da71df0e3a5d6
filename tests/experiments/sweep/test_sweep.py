"""A sweep under real Git, DVC and Dask, in a repository whose stages take a moment.

Four rows run, of which two fail; the tests go on from there, in their order.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from experiments.programs import last_error
from tests.support import clone as cloning
from tests.support.clone import ROOT, Clone
from tests.support.settings import copy_settings

pytestmark = pytest.mark.slow

# Writes what the real pipeline writes; its numbers follow from the params alone. It notes every
# run, fails for the losses named in the file `broken` and waits while there is a file `slow`.
WORK = """
import json, os, sys, time
from pathlib import Path
import yaml

params = yaml.safe_load(Path("params.yaml").read_text())
prompts = yaml.safe_load(Path("studies/embedded.yaml").read_text())["prepare"]["heldout_prompts"]
control = Path(os.environ["CONTROL"])
with (control / "ran").open("a") as ran:
    print(os.getpid(), os.environ["CUDA_VISIBLE_DEVICES"], file=ran)
end = time.monotonic() + 600
while (control / "slow").exists() and time.monotonic() < end:
    time.sleep(0.05)
if params["loss"] in (control / "broken").read_text().split():
    print("half a progress bar\\rerror: the GPU is on fire", file=sys.stderr)
    sys.exit(2)

def write(path, content):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(content if isinstance(content, str) else json.dumps(content))

sampled = {"text": "x", "reward": 0.5, "judge": 0.1}
policy = [sampled | {"kl": 0.123456, "entropy": 3.0}] * 4
sample = {"id": 7, "prompt": "p", "reference": [sampled], "policy": policy}
metric = {"value": params["beta"] + params["seed"], "low": None, "high": 1 / 3}
write("models/reference/source.json", {"name": "tiny"})
write("results/metrics.json", {"reward": params["beta"]})
write("results/baselines.json", [{"baseline": "best_of", "n": 2, "seed": params["seed"]}])
write("results/evaluate/metrics.json", {"reward": metric})
write("results/evaluate/calibration.json", [{"confidence": 0.5, "accuracy": 0.6, "count": 2}])
write("results/evaluate/samples.jsonl", (json.dumps(sample) + "\\n") * prompts)
for split in ("train", "eval"):
    for curve in ("loss", "loss_fell", "rewards/margins", "rewards/accuracies"):
        points = f"step\\t{Path(curve).name}\\n1\\t0.1\\n2\\tnan\\n"
        write(f"results/train/plots/metrics/{split}/{curve}.tsv", points)
"""
SPLIT = """
mkdir -p data && echo {} > data/train.jsonl && echo {} > data/test.jsonl
echo '{"snippets": {"name": "made"}}' > data/source.json
echo '{"user_data/a.csv": "0f"}' > data/inputs.json
echo >> $CONTROL/data-ran
"""
DVC_YAML = """
stages:
  split: {cmd: sh split.sh, params: [seed], outs: [data]}
  work:
    cmd: python3 work.py
    deps: [data]
    params: [loss, beta, alpha, lr, seed, "studies/${study}.yaml": [prepare]]
    outs: [models, results/train, results/evaluate/samples.jsonl,
           results/evaluate/calibration.json]
    plots: [results/evaluate/metrics.json: {cache: false}, results/baselines.json: {cache: false}]
    metrics: [results/metrics.json: {cache: false}]
"""
SWEEP = """
study: embedded
seeds: [1, 2]
params: {lr: 0.00001, prepare.heldout_prompts: 5}
rows:
  - {name: sigmoid-b1, loss: sigmoid, beta: 1}
  - {name: fkl-b0.1, loss: fkl, beta: 0.1}
"""
RESULTS = "experiments/results/tiny"


@dataclass(frozen=True)
class SweepRepo(Clone):
    """The repository, and beside it a folder by which its stages are watched and steered."""

    @property
    def control(self) -> Path:
        return Path(self.environment["CONTROL"])

    @property
    def ran(self) -> list[int]:
        """The process of every run of the last stage."""
        file = self.control / "ran"
        return [int(pid) for pid in file.read_text().split()[::2]] if file.exists() else []

    def sweep(self, *arguments: str) -> tuple[int, str, str]:
        """Run a command of `python -m experiments.sweep`: exit code, stdout, stderr."""
        done = self.run(sys.executable, "-m", "experiments.sweep", *arguments)
        return done.returncode, done.stdout, done.stderr

    def start_slowly(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a command whose last stage begins, and waits."""
        (self.control / "slow").touch()
        before = len(self.ran)
        command = [sys.executable, "-m", "experiments.sweep", *arguments]
        process = subprocess.Popen(
            command, cwd=self.folder, env=self.environment, stderr=subprocess.PIPE, text=True
        )
        wait_until(lambda: len(self.ran) > before)
        return process

    @property
    def numbers(self) -> dict[str, float]:
        """Each finished row's reward."""
        rows = {path.stem: json.loads(path.read_text()) for path in self.results.glob("*.json")}
        return {name: row["metrics"]["reward"]["value"] for name, row in rows.items()}

    @property
    def results(self) -> Path:
        return self.folder / RESULTS


def wait_until(is_true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 600  # on a busy machine
    while not is_true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def gone(pid: int) -> bool:
    """Whether a process has ended, though its parent may not have noticed."""
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


@pytest.fixture(scope="module")
def repo(tmp_path_factory) -> SweepRepo:
    scratch = tmp_path_factory.mktemp("sweep")
    (scratch / "control").mkdir()
    (scratch / "control/broken").write_text("fkl")
    own = {"CONTROL": str(scratch / "control"), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    own["CUDA_VISIBLE_DEVICES"] = "0,1"  # as on a machine with two GPUs
    made = SweepRepo(scratch / "repo", cloning.environment(scratch) | own)
    (made.folder / "experiments/sweeps").mkdir(parents=True)
    copy_settings(made.folder)
    for path, text in {
        "work.py": WORK,
        "split.sh": SPLIT,
        "dvc.yaml": DVC_YAML,
        "experiments/sweeps/tiny.yaml": SWEEP,
        ".gitignore": "/data\n/models\n/.ckpt\n/results/**\n!/results/*.json\n!/results/evaluate\n"
        "!/results/evaluate/metrics.json\n",
    }.items():
        (made.folder / path).write_text(text)
    made.git("init", "--quiet", "--initial-branch=main")
    made.dvc("init", "--quiet")
    made.git("add", "--all")
    made.git("commit", "--quiet", "--message=start")
    return made


@pytest.fixture(scope="module")
def first(repo) -> tuple[int, str, str]:
    ended = repo.sweep("run", "tiny", "--jobs", "2")
    (repo.control / "broken").write_text("")
    return ended


def test_it_goes_on_past_failed_rows_and_names_their_logs(repo, first):
    code, _, err = first
    assert code == 1
    assert len(repo.ran) == 4
    assert (repo.control / "data-ran").read_text().count("\n") == 2  # once for both rows of a seed
    assert set((repo.control / "ran").read_text().split()[1::2]) == {"0", "1"}  # a GPU a worker
    assert repo.numbers == {"sigmoid-b1-s1": 2.0, "sigmoid-b1-s2": 3.0}
    lines = err.strip().splitlines()[1:]
    assert len(lines) == 2
    for line in lines:
        assert "error: the GPU is on fire" in line
        log = line.rpartition(":")[2].rstrip(")")
        assert "the GPU is on fire" in (repo.folder / log).read_text(encoding="utf-8")


def test_a_file_holds_what_the_row_wrote_and_what_made_it(repo, first):
    row = json.loads((repo.results / "sigmoid-b1-s2.json").read_text(encoding="utf-8"))
    knobs = {"loss": "sigmoid", "beta": 1.0, "alpha": 0.5, "lr": 1e-05, "seed": 2}
    assert row["params"] == knobs | {"prepare.heldout_prompts": 5}
    assert row["study"] == "embedded"
    assert row["models"]["data"] == {"snippets": {"name": "made"}}
    assert row["models"]["inputs"] == {"user_data/a.csv": "0f"}
    assert row["metrics"] == {"reward": {"value": 3.0, "low": None, "high": 1 / 3}}
    assert row["curves"]["eval/rewards/margins"] == [[1, 0.1], [2, None]]
    assert row["curves"]["eval/loss_fell"] == [[1, 0.1], [2, None]]
    assert "eval/loss_median" not in row["curves"]  # as the stage wrote none
    assert set(row["samples"][0]["policy"][0]) == {"text", "reward", "judge"}
    counts = {"train_pairs": 1, "test_pairs": 1, "heldout_prompts": 5, "samples": 20}
    assert row["counts"] == counts
    assert row["heldout"]["kl"] == [[0.1235] * 4] * 5
    reference = json.loads((repo.results / f"references/{row['reference']}.json").read_text())
    assert reference["reward"] == [[0.5]] * 5
    assert reference["baselines"] == [{"baseline": "best_of", "n": 2, "seed": 2}]
    commit = repo.git("rev-parse", "HEAD").strip()
    ref = f"refs/exps/{commit[:2]}/{commit[2:]}/tiny-sigmoid-b1-s2"
    assert row["made"]["commit"] == commit
    assert row["made"]["experiment"] == repo.git("rev-parse", ref).strip()
    assert row["made"]["machine"].endswith("OMP_NUM_THREADS=1")
    assert repo.git("status", "--porcelain") == "?? experiments/results/\n"
    assert not [path for path in (repo.folder / ".dvc/tmp/sweeps").glob("*-*") if path.is_dir()]


def test_a_killed_workers_row_runs_again_and_a_killed_sweep_goes_on(repo, first):
    """The last commit runs, not what is edited; a second sweep meanwhile is refused."""
    dvc_yaml = repo.bytes("dvc.yaml")
    (repo.folder / "dvc.yaml").write_text("stages: {}\n")
    sweep = repo.start_slowly("run", "tiny", "--jobs", "1")
    code, _, err = repo.sweep("run", "tiny")
    assert code == 2
    assert "tiny.lock" in err
    children = psutil.Process(sweep.pid).children(recursive=True)
    (row,) = [child for child in children if "--parent" in child.cmdline()]
    row.parent().kill()
    wait_until(lambda: gone(repo.ran[4]) and len(repo.ran) == 6)
    sweep.kill()
    sweep.communicate()
    wait_until(lambda: gone(repo.ran[5]))
    (repo.control / "slow").unlink()

    code, out, err = repo.sweep("run", "tiny", "--jobs", "1")
    assert (code, err) == (0, "")
    assert "without the changes in dvc.yaml" in out
    (repo.folder / "dvc.yaml").write_bytes(dvc_yaml)
    assert len(repo.ran) == 8
    rewards = {"fkl-b0.1-s1": 1.1, "fkl-b0.1-s2": 2.1, "sigmoid-b1-s1": 2.0, "sigmoid-b1-s2": 3.0}
    assert repo.numbers == rewards


def test_a_row_edited_since_is_not_done_and_a_command_runs_it_alone(repo, first):
    spec = repo.folder / "experiments/sweeps/tiny.yaml"
    spec.write_text(SWEEP.replace("beta: 1}", "beta: 2}"))
    repo.git("add", "--all")
    repo.git("commit", "--quiet", "--message=more")
    assert "sigmoid-b1-s1" in repo.sweep("list", "tiny")[1].split()
    before = len(repo.ran)
    for _ in range(2):
        assert repo.sweep("row", "tiny", "sigmoid-b1-s1") == (0, "", "")
    assert repo.numbers["sigmoid-b1-s1"] == 3.0
    assert len(repo.ran) == before + 1
    code, _, err = repo.sweep("row", "tiny", "fkl-b1-s1")
    assert code == 2
    assert "sigmoid-b1-s1" in err
    assert os.linesep not in err.strip()


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("command", "sent", "code"),
    [
        (("run", "tiny", "--jobs", "1"), signal.SIGINT, 130),
        (("row", "tiny", "sigmoid-b1-s2"), signal.SIGTERM, 128 + signal.SIGTERM),
    ],
)
def test_what_is_interrupted_leaves_nothing_running(repo, first, command, sent, code):
    (repo.results / "sigmoid-b1-s2.json").unlink(missing_ok=True)
    process = repo.start_slowly(*command)
    process.send_signal(sent)
    process.communicate(timeout=120)
    assert process.returncode == code
    wait_until(lambda: gone(repo.ran[-1]))
    (repo.control / "slow").unlink()


def test_the_error_that_is_shown_is_the_error():
    unexpected = (
        "ERROR: unexpected error - disk I/O error\n\nHaving any troubles? Hit us up at x!\n"
    )
    assert last_error(unexpected) == "ERROR: unexpected error - disk I/O error"
    failed = "Traceback\nValueError: no\nERROR: failed to reproduce 'train': exited with 1\n"
    assert last_error(failed) == "ValueError: no"
    assert last_error("") == "it printed nothing"
