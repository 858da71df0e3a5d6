"""The project itself, tiny, shared through a real S3 store with secrets in the environment."""

import base64
import json
import re
import secrets
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.support import clone as cloning
from tests.support import machines
from tests.support.clone import Clone

pytestmark = pytest.mark.store

# Its one row is the experiment that the test has run: the sweep takes it over.
SWEEP = """
study: embedded
seeds: [1]
rows:
  - {name: other, loss: fkl, beta: 1, alpha: 0.5, lr: 0.01}
"""


@dataclass(frozen=True)
class Shared:
    """A machine that has run, pushed and compared; `planted` were in its environment."""

    clone: Clone
    log: Path  # everything that its commands printed
    planted: dict[str, str]

    def dvc(self, *arguments: str) -> str:
        return self.say(self.clone.dvc(*arguments))

    def say(self, printed: str) -> str:
        with open(self.log, "a") as log:
            log.write(printed)
        return printed


@pytest.fixture(scope="module")
def shared(store, bucket, tmp_path_factory) -> Shared:
    scratch = tmp_path_factory.mktemp("project")
    planted = {
        "AWS_ACCESS_KEY_ID": store.access_key,
        "AWS_SECRET_ACCESS_KEY": store.secret_key,
        "HF_TOKEN": f"hf_{secrets.token_hex(17)}",
        "WANDB_API_KEY": secrets.token_hex(20),
    }
    (scratch / "tmp").mkdir()
    others = {"WANDB_MODE": "offline", "TMPDIR": str(scratch / "tmp")}
    clone = cloning.make(scratch)
    clone = replace(clone, environment=clone.environment | store.environment | planted | others)
    machines.share(clone)
    shared = Shared(clone, scratch / "log.txt", planted)

    assert len(run_stages(shared.dvc("repro", "--verbose"))) == 8
    for command in machines.documented_commands(bucket):
        done = clone.run(*command)
        assert done.returncode == 0, done.stderr
        shared.say(done.stdout + done.stderr)
    machines.commit(clone, "run")
    clone.git("push", "--quiet")
    return shared


def run_stages(printed: str) -> list[str]:
    return re.findall(r"Running stage '(\w+)'", printed)


def test_a_fresh_clone_elsewhere_has_the_results_and_runs_nothing(shared, tmp_path):
    fresh = machines.another(shared.clone, tmp_path)
    fresh.dvc("pull")
    assert run_stages(fresh.dvc("repro", "--pull")) == []
    assert fresh.git("status", "--porcelain") == ""
    for path in ("models/policy/adapter_model.safetensors", "results/evaluate/samples.jsonl"):
        assert fresh.bytes(path) == shared.clone.bytes(path)


def test_nothing_secret_is_written(shared):
    clone = shared.clone
    settings = ("-S", "loss=fkl", "-S", "beta=1", "-S", "lr=0.01")
    printed = shared.dvc("exp", "run", "--temp", "--name", "other-s1", "--verbose", *settings)
    assert run_stages(printed) == ["check", "train", "evaluate"]
    shared.dvc("exp", "run", "--queue", "--name", "waiting", "-S", "seed=2")
    shared.dvc("exp", "push", "--verbose", "origin", "other-s1")
    shared.dvc("plots", "show", "--out", "plots")
    shared.dvc("exp", "show", "--json")
    (clone.folder / "experiments/sweeps/shared.yaml").write_text(SWEEP)
    for command in ("sweep shared", "report shared", "samples", "publish nobody/nothing"):
        done = clone.run(sys.executable, "-m", *f"experiments.{command}".split())
        shared.say(done.stdout + done.stderr)
        assert done.returncode == (2 if "publish" in command else 0)  # no Hub can be reached

    scratch = shared.log.parent
    searched = [path.relative_to(scratch).as_posix() for path in written(scratch)]
    for place in (
        "log.txt",
        "origin.git/",
        "clone/dvc.lock",
        "clone/.git/",
        "clone/.dvc/config",
        "clone/.dvc/cache/",
        "clone/.dvc/tmp/",
        "clone/models/policy/",
        "clone/results/evaluate/",
        "clone/results/report/index.html",
        "clone/experiments/results/shared.json",
        "clone/plots/",
        "clone/wandb/",
    ):
        assert any(name.startswith(place) for name in searched), place
    assert found_in(scratch, shared.planted) == []


def test_the_search_finds_what_is_there(tmp_path):
    clone = Clone(tmp_path, cloning.environment(tmp_path / "elsewhere"))
    planted = {"AWS_ACCESS_KEY_ID": "akia0123456789:owner"}
    (key,) = planted.values()
    (tmp_path / "message.json").write_text(
        json.dumps({"body": base64.b64encode(f'{{"env": "{key}"}}'.encode()).decode()})
    )
    (tmp_path / "address.txt").write_text(f"http://host/?key={quote(key, safe='')}")
    (tmp_path / "blob.txt").write_text(key)
    clone.git("init", "--quiet")
    clone.git("add", "blob.txt")
    (tmp_path / "blob.txt").unlink()
    assert found_in(tmp_path, planted) == [
        "AWS_ACCESS_KEY_ID in .git, an object",
        "AWS_ACCESS_KEY_ID in address.txt",
        "AWS_ACCESS_KEY_ID in message.json",
    ]


def found_in(folder: Path, planted: dict[str, str]) -> list[str]:
    """Where a secret is written under `folder`, plainly or encoded, in Git's objects too."""
    found = []
    for name, secret in planted.items():
        pattern = re.compile(b"|".join(map(re.escape, forms(secret))))
        for path in written(folder):
            if pattern.search(path.read_bytes()):
                found.append(f"{name} in {path.relative_to(folder)}")
        for repository in folder.rglob("objects/info"):
            if pattern.search(git_objects(repository.parents[1])):
                found.append(f"{name} in {repository.parents[1].relative_to(folder)}, an object")
    return sorted(found)


def written(folder: Path) -> Iterable[Path]:
    return (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def forms(secret: str) -> list[bytes]:
    """The secret as such, in an address, in hexadecimal and in base64 wherever it starts there."""
    plain = secret.encode()
    encoded = [base64.b64encode(b"\0" * shift + plain)[4:-4] for shift in range(3)]
    return [plain, quote(secret, safe="").encode(), plain.hex().encode(), *encoded]


def git_objects(repository: Path) -> bytes:
    """All that Git keeps, unpacked."""
    return subprocess.run(
        ["git", "cat-file", "--batch-all-objects", "--batch"],
        cwd=repository,
        capture_output=True,
        check=True,
    ).stdout
