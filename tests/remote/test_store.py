"""What docs/sharing.md promises of DVC with an S3 store, in clones of a small repository."""

import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from tests.remote import s3_store
from tests.remote.s3_store import Store
from tests.support import clone as cloning
from tests.support.clone import ROOT, Clone

pytestmark = pytest.mark.store

PIPELINE = "stages: {score: {cmd: cat words > scores, deps: [words], outs: [scores]}}"
FILES, SIZE = 10, 2_000_000  # bytes a file, of the push that is cut


def run_stages(printed: str) -> list[str]:
    return re.findall(r"Running stage '(\w+)'", printed)


def commit(clone: Clone, message: str) -> None:
    clone.git("add", "--all")
    clone.git("commit", "--quiet", f"--message={message}")
    clone.git("push", "--quiet", "--set-upstream", "origin", "main")


def another(clone: Clone, scratch: Path) -> Clone:
    """A fresh clone from the same Git server, on a machine that has seen none of it."""
    scratch.mkdir(exist_ok=True)
    own = {n: v for n, v in cloning.environment(scratch).items() if str(scratch) in v}
    fresh = replace(clone, folder=scratch / "clone", environment=clone.environment | own)
    server = clone.git("remote", "get-url", "origin").strip()
    clone.git("clone", "--quiet", server, str(fresh.folder))
    return fresh


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Iterator[Store]:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]  # the developer's own store is none of these tests' business
    with s3_store.serving(tmp_path_factory.mktemp("store")) as store:
        yield store


@pytest.fixture(scope="module")
def first(store, tmp_path_factory) -> Clone:
    """A machine that has run the pipeline and set up the bucket as docs/sharing.md says."""
    scratch = tmp_path_factory.mktemp("first")
    clone = Clone(scratch / "clone", cloning.environment(scratch) | store.environment)
    clone.folder.mkdir()
    (clone.folder / "words").write_text("a: 1\n")
    (clone.folder / "dvc.yaml").write_text(PIPELINE)
    clone.git("init", "--quiet", "--initial-branch=main")
    clone.git("init", "--quiet", "--bare", "--initial-branch=main", str(scratch / "origin.git"))
    clone.git("remote", "add", "origin", str(scratch / "origin.git"))
    clone.dvc("init", "--quiet")
    clone.dvc("repro")
    page = (ROOT / "docs/sharing.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```sh\n([^`]*BUCKET/PATH[^`]*)```", page)
    for line in block.replace("BUCKET/PATH", "shared/some/path").splitlines():
        done = clone.run(*shlex.split(line, comments=True))
        assert done.returncode == 0, done.stderr
    commit(clone, "results and where they are")
    return clone


def test_a_fresh_clone_pulls_all_and_git_holds_no_key(first, tmp_path):
    committed = first.git("log", "--all", "--patch")
    assert "s3://shared/some/path" in committed
    assert not [key for key in (*s3_store.KEYS.values(), "127.0.0.1") if key in committed]
    fresh = another(first, tmp_path)
    fresh.dvc("pull")
    assert fresh.bytes("scores") == b"a: 1\n"
    assert run_stages(fresh.dvc("repro", "--pull")) == []


def test_a_damaged_object_is_caught_and_rebuilt(store, first, tmp_path):
    stages = yaml.safe_load(first.bytes("dvc.lock"))["stages"]
    md5 = stages["score"]["outs"][0]["md5"]
    place = f"shared/some/path/files/md5/{md5[:2]}/{md5[2:]}"
    objects = store.files()
    whole = objects.cat_file(place)
    objects.pipe_file(place, bytes([whole[0] ^ 1]) + whole[1:])  # of the same size

    fresh = another(first, tmp_path)
    assert fresh.run("dvc", "pull", "scores").returncode == 1
    assert not (fresh.folder / "scores").exists()
    assert run_stages(fresh.dvc("repro", "--pull")) == ["score"]
    assert fresh.bytes("scores") == b"a: 1\n"
    objects.rm_file(place)
    assert "1 file pushed" in fresh.dvc("push")
    assert objects.cat_file(place) == whole


def test_a_push_that_is_cut_loses_nothing_and_the_next_sends_the_rest(store, first, tmp_path):
    clone = another(first, tmp_path / "from")
    (clone.folder / "large").mkdir()
    for number in range(FILES):
        (clone.folder / f"large/part{number}").write_bytes(os.urandom(SIZE))
    clone.dvc("add", "--quiet", "large")
    commit(clone, "large files")

    half = store.size() + FILES * SIZE // 2
    push = subprocess.Popen(
        [sys.executable, "-m", "dvc", "push", "--jobs", "1", "large"],
        cwd=clone.folder,
        env=clone.environment | {"AWS_MAX_ATTEMPTS": "1"},
        stderr=subprocess.DEVNULL,
    )
    while store.size() < half and push.poll() is None:
        time.sleep(0.01)
    store.kill()
    assert push.wait() == 1
    store.start()

    (pushed,) = re.findall(r"(\d+) files? pushed", clone.dvc("push", "large"))
    assert 0 < int(pushed) < FILES + 1  # what is missing, and the folder's list
    fresh = another(clone, tmp_path / "to")
    fresh.dvc("pull", "large")
    for number in range(FILES):
        assert clone.bytes(f"large/part{number}") == fresh.bytes(f"large/part{number}")
