"""A Git repository with DVC and two quick stages that run as the project's do: train, evaluate.

They note the beta that they saw, as the policy's objective.json and metrics.json have it. A shell
command in the file `window` runs after train has ended and before DVC has noticed, so between
train's last look at params.yaml and DVC's.
"""

import os
from pathlib import Path

import yaml

from tests.support.clone import IDENTITY, PYTHON_FOLDER, ROOT, Clone

WORK = """
import json, sys
from pathlib import Path
import yaml
from fdpo.core.errors import UserError
from fdpo.run import locks
from fdpo.run.dvc_records import true_record

def params():
    return yaml.safe_load(Path("params.yaml").read_text())

def write(path, values):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(json.dumps(values))

def check():
    write("data/study.json", {"study": params()["study"]})

def train():
    if params()["beta"] == 9:
        raise UserError("beta = 9: too many")
    write("models/policy/objective.json", {"beta": params()["beta"]})

def evaluate():
    trained = json.loads(Path("models/policy/objective.json").read_text())["beta"]
    with true_record("train"):
        if trained != params()["beta"]:
            raise UserError(f"trained with {trained}, but params.yaml has {params()['beta']}")
    write("results/samples.json", {"beta": trained})
    write("results/metrics.json", {"reward": trained})

locks.run(sys.argv[1], globals()[sys.argv[1]])
"""
PIPELINE = {
    "check": {
        "cmd": "python3 work.py check && sh $CONTROL/after-check",
        "deps": ["params.yaml"],
        "outs": ["data/study.json"],
    },
    "train": {
        "cmd": "python3 work.py train && sh $CONTROL/after-train",
        "deps": ["data/study.json"],
        "params": ["beta"],
        "outs": ["models/policy"],
    },
    "evaluate": {
        "cmd": "python3 work.py evaluate && sh $CONTROL/after-evaluate",
        "deps": ["data/study.json", "models/policy"],
        "params": ["beta"],
        "outs": ["results/samples.json"],
        "metrics": [{"results/metrics.json": {"cache": False}}],
    },
}


def make(scratch: Path) -> Clone:
    """The repository in `scratch`/clone, whose stages have run once with beta 0.1."""
    home = scratch / "home"
    (home / "dvc").mkdir(parents=True)
    for stage in PIPELINE:
        (scratch / f"after-{stage}").write_text("")
    environment = {
        **os.environ,
        **IDENTITY,
        "PATH": os.pathsep.join([str(PYTHON_FOLDER), os.environ["PATH"]]),
        "PYTHONPATH": str(ROOT),
        "CONTROL": str(scratch),
        "HOME": str(home),
        "GIT_CONFIG_GLOBAL": os.devnull,
        "DVC_GLOBAL_CONFIG_DIR": str(home / "dvc"),
        "DVC_SYSTEM_CONFIG_DIR": str(home / "dvc"),
        "DVC_SITE_CACHE_DIR": str(home / "site"),
        "DVC_NO_ANALYTICS": "1",
    }
    clone = Clone(scratch / "clone", environment)
    clone.folder.mkdir()
    files = {
        "work.py": WORK,
        "dvc.yaml": yaml.safe_dump({"stages": PIPELINE}, sort_keys=False),
        "params.yaml": "study: mine\nbeta: 0.1\n",
        ".gitignore": "/data/\n/models/\n/results/samples.json\n/.ckpt/\n",
    }
    for name, text in files.items():
        (clone.folder / name).write_text(text, encoding="utf-8")
    clone.git("init", "--quiet", "--initial-branch=main")
    clone.dvc("init", "--quiet")
    clone.dvc("repro", "--quiet")
    clone.git("add", "--all")
    clone.git("commit", "--quiet", "--message=run")
    return clone
