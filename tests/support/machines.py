"""People who share results: a Git server, clones of it on machines of their own, and a bucket.

Most tests use a stand-in for the project: its dvc.yaml and params.yaml with stages of a few lines.
"""

import re
import shlex
from dataclasses import replace
from pathlib import Path

import botocore.session
import yaml
from botocore.client import BaseClient
from botocore.config import Config

from tests.support import clone as cloning
from tests.support.clone import Clone
from tests.support.swift import Store

ROOT = Path(__file__).parents[2]
STAND_IN = '''\
"""Write a stage's outputs: bytes that depend on its inputs and on nothing else."""

import hashlib
import json
import sys
from pathlib import Path

import yaml

stage = yaml.safe_load(Path("dvc.yaml").read_text())["stages"][sys.argv[1]]
params = yaml.safe_load(Path("params.yaml").read_text())
digest = hashlib.sha256(json.dumps([params[key] for key in stage["params"]]).encode())
deps = [dep for dep in stage["deps"] if dep != "params.yaml"]  # `check` tells of the study alone
for dep in map(Path, deps):
    for file in sorted(dep.rglob("*")) if dep.is_dir() else [dep]:
        digest.update(file.read_bytes())
for entry in sum((stage.get(kind, []) for kind in ("outs", "metrics", "plots")), []):
    out = Path(entry if isinstance(entry, str) else next(iter(entry)))
    digest.update(str(out).encode())
    file = out if out.suffix else out / "weights.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"reward": int(digest.hexdigest()[:8], 16), "pad": "." * 1000}))
'''


def stand_in(scratch: Path) -> Clone:
    """The stand-in, committed and known to a Git server, nothing of it run yet."""
    clone = Clone(scratch / "clone", cloning.environment(scratch))
    clone.folder.mkdir()
    pipeline = yaml.safe_load((ROOT / "dvc.yaml").read_text())
    for name, stage in pipeline["stages"].items():
        stage["cmd"] = f"python3 stage.py {name}"
        stage["deps"] = [dep for dep in stage["deps"] if not dep.startswith(("fdpo/", "stages/"))]
        stage["deps"].append("stage.py")
        stage["params"] = [key for key in stage.get("params", []) if "." not in key] + ["study"]
    (clone.folder / "dvc.yaml").write_text(yaml.safe_dump(pipeline, sort_keys=False))
    (clone.folder / "stage.py").write_text(STAND_IN)
    (clone.folder / "inputs").mkdir()
    for name in ("params.yaml", ".gitignore", ".dvcignore", "inputs/README.md"):
        (clone.folder / name).write_bytes((ROOT / name).read_bytes())
    clone.git("init", "--quiet", "--initial-branch=main")
    clone.dvc("init", "--quiet")
    commit(clone, "start")
    share(clone)
    return clone


def commit(clone: Clone, message: str) -> None:
    clone.git("add", "--all")
    clone.git("commit", "--quiet", f"--message={message}")


def share(clone: Clone) -> None:
    """Make a Git server beside the clone, its origin, and push to it."""
    server = clone.folder.with_name("origin.git")
    clone.git("init", "--quiet", "--bare", "--initial-branch=main", str(server))
    clone.git("remote", "add", "origin", str(server))
    clone.git("push", "--quiet", "--set-upstream", "origin", "main")


def another(clone: Clone, scratch: Path) -> Clone:
    """A fresh clone from the same Git server, on a machine that has seen none of it."""
    scratch.mkdir(parents=True, exist_ok=True)
    own = clone.environment | {
        name: value for name, value in cloning.environment(scratch).items() if str(scratch) in value
    }
    fresh = replace(clone, folder=scratch / "clone", environment=own)
    server = clone.git("remote", "get-url", "origin").strip()
    clone.git("clone", "--quiet", server, str(fresh.folder))
    return fresh


def documented_commands(bucket: str) -> list[list[str]]:
    """What docs/sharing.md tells its reader to type, with `bucket` for one of the reader's own."""
    page = (ROOT / "docs/sharing.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```sh\n(.*?BUCKET/PATH.*?)```", page, re.DOTALL)
    assert "BUCKET/PATH" in block
    lines = block.replace("BUCKET/PATH", bucket).splitlines()
    return [shlex.split(line, comments=True) for line in lines]


def client(store: Store) -> BaseClient:
    """Another S3 client than DVC's, with the owner's keys."""
    return botocore.session.Session().create_client(
        "s3",
        region_name="us-east-1",
        endpoint_url=store.environment["AWS_ENDPOINT_URL"],
        aws_access_key_id=store.access_key,
        aws_secret_access_key=store.secret_key,
        config=Config(proxies={}),  # none to loopback, whatever the environment says
    )
