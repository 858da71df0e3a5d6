"""A Git repository with DVC and two quick stages that write what the real pipeline writes."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.support.clone import IDENTITY, PYTHON_FOLDER, ROOT

# Its numbers follow from the params alone. It notes every run, fails for the losses named in the
# file `broken` and waits where there is a file `slow`.
WORK = """
import json, os, sys, time
from pathlib import Path
import yaml

params = yaml.safe_load(Path("params.yaml").read_text())
prepare = yaml.safe_load(Path("studies/embedded.yaml").read_text())["prepare"]
control = Path(os.environ["CONTROL"])
with (control / "ran").open("a") as ran:
    print(params["loss"], params["beta"], params["lr"], params["seed"], os.getpid(),
          os.environ.get("OMP_NUM_THREADS"), file=ran)
if (control / "slow").exists():
    time.sleep(60)
if params["loss"] in (control / "broken").read_text().split():
    print("half a progress bar\\rerror: the GPU is on fire", file=sys.stderr)
    sys.exit(2)

def write(path, text):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text)

sampled = {"text": "x", "reward": 0.5, "judge": 0.1}
policy = [sampled | {"kl": 0.123456, "entropy": 3.0}] * 4
sample = {"id": 7, "prompt": "p", "reference": [sampled], "policy": policy}
write("models/reference/source.json", json.dumps({"name": "tiny"}))
write("results/metrics.json", json.dumps({"reward": params["beta"]}))
baselines = [{"baseline": "best_of", "n": 2, "seed": params["seed"]}]
write("results/baselines.json", json.dumps(baselines))
metrics = {"reward": {"value": params["beta"] + params["seed"], "low": None, "high": 1 / 3}}
write("results/evaluate/metrics.json", json.dumps(metrics))
bins = [{"confidence": 0.5, "accuracy": 0.6, "count": 2}]
write("results/evaluate/calibration.json", json.dumps(bins))
write("results/evaluate/samples.jsonl", (json.dumps(sample) + "\\n") * prepare["heldout_prompts"])
for split in ("train", "eval"):
    for curve in ("loss", "loss_fell", "rewards/margins", "rewards/accuracies"):
        points = f"step\\t{Path(curve).name}\\n1\\t0.1\\n2\\tnan\\n"
        write(f"results/train/plots/metrics/{split}/{curve}.tsv", points)
"""
SPLIT = """
import json, os
from pathlib import Path
import yaml

params = yaml.safe_load(Path("params.yaml").read_text())
prepare = yaml.safe_load(Path("studies/embedded.yaml").read_text())["prepare"]
with (Path(os.environ["CONTROL"]) / "data-ran").open("a") as ran:
    print(params["seed"], file=ran)
Path("data").mkdir(exist_ok=True)
source = {"snippets": {"name": "made", "version": "1"}}
Path("data/source.json").write_text(json.dumps(source))
Path("data/inputs.json").write_text('{"user_data/a.csv": "0f"}')
Path("data/train.jsonl").write_text("{}\\n" * prepare["train_prompts"])
Path("data/test.jsonl").write_text("{}\\n" * 2)
"""
DVC_YAML = """
stages:
  split:
    cmd: python3 split.py
    params: [seed, "studies/${study}.yaml": [prepare]]
    outs: [data]
  work:
    cmd: python3 work.py
    deps: [data]
    params: [loss, beta, alpha, lr, seed, "studies/${study}.yaml": [prepare]]
    outs: [models, results/train, results/evaluate/samples.jsonl,
           results/evaluate/calibration.json]
    plots: [results/evaluate/metrics.json: {cache: false},
            results/baselines.json: {cache: false}]
    metrics: [results/metrics.json: {cache: false}]
"""
SWEEP = """
study: embedded
seeds: [1, 2]
params: {lr: 0.00001, prepare.train_prompts: 8, prepare.heldout_prompts: 5}
rows:
  - {name: sigmoid-b1, loss: sigmoid, beta: 1}
  - {name: fkl-b0.1, loss: fkl, beta: 0.1}
"""


@dataclass(frozen=True)
class SweepRepo:
    folder: Path
    control: Path
    environment: dict[str, str]

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """A command of `python -m experiments.sweep`."""
        return subprocess.Popen(
            [sys.executable, "-m", "experiments.sweep", *arguments],
            cwd=self.folder,
            env=self.environment | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def sweep(self, *arguments: str, **environment: str) -> tuple[int, str, str]:
        """Run a command to its end: exit code, stdout, stderr."""
        process = self.start(*arguments, **environment)
        out, err = process.communicate(timeout=400)
        return process.returncode, out, err

    def call(self, *command: str) -> str:
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def commit(self) -> str:
        self.call("git", "add", "--all")
        self.call("git", "commit", "--quiet", "--message=more")
        return self.call("git", "rev-parse", "HEAD").strip()

    def write(self, path: str, text: str) -> None:
        (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / path).write_text(text, encoding="utf-8")

    @property
    def data_ran(self) -> list[str]:
        """The seed of every run of the stage that makes data."""
        return (self.control / "data-ran").read_text().split()

    @property
    def ran(self) -> list[list[str]]:
        """Loss, β, lr, seed, process and threads of every run of the last stage."""
        file = self.control / "ran"
        return [line.split() for line in file.read_text().splitlines()] if file.exists() else []


def make(scratch: Path) -> SweepRepo:
    """The repository in `scratch`, with the project's params.yaml and the sweep `tiny` of 2 x 2."""
    folder, control, home = (scratch / name for name in ("repo", "control", "home"))
    for made in (folder, control, home / "dvc"):
        made.mkdir(parents=True)
    environment = {
        **os.environ,
        **IDENTITY,
        "PATH": os.pathsep.join([str(PYTHON_FOLDER), os.environ["PATH"]]),
        "PYTHONPATH": str(ROOT),
        "CONTROL": str(control),
        "HOME": str(home),
        "DVC_GLOBAL_CONFIG_DIR": str(home / "dvc"),
        "DVC_SYSTEM_CONFIG_DIR": str(home / "dvc"),
        "DVC_NO_ANALYTICS": "1",
    }
    repo = SweepRepo(folder, control, environment)
    (control / "broken").write_text("")
    repo.write("work.py", WORK)
    repo.write("split.py", SPLIT)
    repo.write("dvc.yaml", DVC_YAML)
    for path in ("params.yaml", "studies/embedded.yaml"):
        repo.write(path, (ROOT / path).read_text(encoding="utf-8"))
    repo.write("experiments/sweeps/tiny.yaml", SWEEP)
    repo.write(
        ".gitignore",
        "/data/\n/models/\n/.ckpt\n/results/*\n!/results/metrics.json\n!/results/baselines.json\n"
        "!/results/evaluate/\n/results/evaluate/*\n!/results/evaluate/metrics.json\n",
    )
    repo.call("git", "init", "--quiet", "--initial-branch=main")
    repo.call(sys.executable, "-m", "dvc", "init", "--quiet")
    repo.commit()
    return repo
