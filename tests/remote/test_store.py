"""DVC and Git with a real S3 store, in clones of a stand-in for the project."""

import filecmp
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from tests.support import machines, swift
from tests.support.clone import NOWHERE, Clone
from tests.support.swift import Store

pytestmark = pytest.mark.store

MEGABYTE = 1_000_000
LARGE = {"model": 100 * MEGABYTE} | {f"part{i}": 10 * MEGABYTE for i in range(10)}


def run_stages(printed: str) -> list[str]:
    return re.findall(r"Running stage '(\w+)'", printed)


def files(clone: Clone) -> dict[str, bytes]:
    """Every output of the pipeline."""
    folders = [clone.folder / name for name in ("data", "models", "results")]
    paths = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(clone.folder)): path.read_bytes() for path in paths}


@pytest.fixture(scope="module")
def first(store, bucket, tmp_path_factory) -> Clone:
    """A machine that has run the stand-in and set up the bucket as docs/sharing.md says."""
    clone = machines.stand_in(tmp_path_factory.mktemp("first"))
    clone = replace(clone, environment=clone.environment | store.environment)
    assert len(run_stages(clone.dvc("repro"))) == 8
    commands = machines.documented_commands(bucket)
    assert len(commands) == 3
    for command in commands:
        done = clone.run(*command)
        assert done.returncode == 0, done.stderr
    assert "files pushed" in done.stdout
    machines.commit(clone, "results and where they are")
    clone.git("push", "--quiet")
    return clone


@pytest.fixture(scope="module")
def second(first, tmp_path_factory) -> Clone:
    """A fresh clone elsewhere, after `dvc pull`."""
    clone = machines.another(first, tmp_path_factory.mktemp("second"))
    assert not (clone.folder / "data").exists()
    clone.dvc("pull")
    return clone


def test_swift_that_cannot_be_installed_is_a_failure_with_its_reason(tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    with pytest.raises(RuntimeError, match=r"Swift cannot be installed: .*swift==2\.38\.3"):
        swift.install(tmp_path / "environment")


def test_the_set_up_verifies_and_puts_no_key_and_no_address_into_git(store, first, bucket):
    assert first.dvc("config", "remote.storage.verify").strip() == "true"
    config = first.git("show", "HEAD:.dvc/config")
    assert f"s3://{bucket}" in config
    for secret in (store.access_key, store.secret_key, "127.0.0.1", "endpoint"):
        assert secret not in config


def test_a_fresh_clone_elsewhere_pulls_all_and_runs_nothing(first, second):
    assert files(second) == files(first)
    assert run_stages(second.dvc("repro", "--pull")) == []
    assert second.git("status", "--porcelain") == ""


def test_two_machines_share_out_experiments_and_one_gathers_them(first, second):
    rows = {"row1": (first, 0.2), "row2": (first, 0.3), "row3": (second, 0.4)}
    metrics = {}
    for name, (machine, beta) in rows.items():
        printed = machine.dvc("exp", "run", "--temp", "--name", name, "-S", f"beta={beta}")
        assert run_stages(printed) == ["check", "train", "evaluate"]
        ref = machine.git("for-each-ref", "--format=%(refname)", f"refs/exps/*/*/{name}").strip()
        metrics[name] = machine.git("show", f"{ref}:results/metrics.json")
    assert len(set(metrics.values())) == 3
    first.dvc("exp", "push", "origin")
    second.dvc("exp", "push", "origin")

    assert sorted(second.dvc("exp", "list", "--names-only", "origin").split()) == sorted(rows)
    second.dvc("exp", "pull", "origin")
    assert sorted(second.dvc("exp", "list", "--names-only").split()) == sorted(rows)
    second.dvc("exp", "apply", "row2")
    assert yaml.safe_load(second.bytes("params.yaml"))["beta"] == 0.3
    assert second.bytes("results/metrics.json").decode() == metrics["row2"]
    assert run_stages(second.dvc("repro")) == []
    second.git("checkout", "--quiet", ".")
    second.dvc("checkout", "--quiet")


def test_a_damaged_object_is_caught_and_rebuilt(store, first, bucket, tmp_path):
    path = "data/scores.jsonl"
    (md5,) = [
        out["md5"]
        for stage in yaml.safe_load(first.bytes("dvc.lock"))["stages"].values()
        for out in stage["outs"]
        if out["path"] == path
    ]
    name, folder = bucket.split("/", 1)
    place = {"Bucket": name, "Key": f"{folder}/files/md5/{md5[:2]}/{md5[2:]}"}
    client = machines.client(store)
    whole = client.get_object(**place)["Body"].read()
    assert whole == first.bytes(path)
    client.put_object(**place, Body=bytes([whole[0] ^ 1]) + whole[1:])  # of the same size

    fresh = machines.another(first, tmp_path)
    pulled = fresh.run("dvc", "pull", path, "data/pairs.jsonl")
    assert pulled.returncode == 1
    assert (
        f"failed to pull data from the cloud - Checkout failed for following targets:\n{path}"
        in (pulled.stderr)
    )
    assert not (fresh.folder / path).exists()
    assert fresh.bytes("data/pairs.jsonl") == first.bytes("data/pairs.jsonl")
    assert run_stages(fresh.dvc("repro", "--pull")) == ["score"]
    assert files(fresh) == files(first)
    assert fresh.git("status", "--porcelain") == ""

    client.delete_object(**place)
    assert "1 file pushed" in fresh.dvc("push")
    assert client.get_object(**place)["Body"].read() == whole


def test_a_store_killed_in_a_push_of_200_megabytes_loses_nothing(store, first, tmp_path):
    clone = machines.another(first, tmp_path / "from")
    (clone.folder / "large").mkdir()
    for name, size in LARGE.items():
        (clone.folder / "large" / name).write_bytes(os.urandom(size))
    clone.dvc("add", "--quiet", "large")
    machines.commit(clone, "large files")
    clone.git("push", "--quiet")

    failed = killed_push(clone, store)
    assert re.search(r"failed to push data to the cloud - \d+ files failed to upload", failed)
    assert "Traceback" not in failed
    assert "up to date" in clone.dvc("status", "large.dvc")

    (pushed,) = re.findall(r"(\d+) files? pushed", clone.dvc("push", "large"))
    assert 0 < int(pushed) < len(LARGE) + 1  # what is missing; the folder's list is one file more
    fresh = machines.another(clone, tmp_path / "to")
    fresh.dvc("pull", "large")
    for name in LARGE:
        assert filecmp.cmp(clone.folder / "large" / name, fresh.folder / "large" / name, False)
    shutil.rmtree(tmp_path)  # 800 MB that pytest would keep


def killed_push(clone: Clone, store: Store) -> str:
    """Push; kill the store half-way and start it again; return what DVC says of it."""
    half = store.objects() + 8  # of 15: the largest file makes two parts and two records of them
    with open(clone.folder.with_name("push.log"), "w+") as log:
        push = subprocess.Popen(
            [sys.executable, "-m", "dvc", "push", "--jobs", "2", "large"],
            cwd=clone.folder,
            env=clone.environment | {"AWS_MAX_ATTEMPTS": "1"},  # DVC itself tries five times
            stdout=log,
            stderr=log,
        )
        while store.objects() < half and push.poll() is None:
            time.sleep(0.01)
        store.stop(signal.SIGKILL)
        status = push.wait()
        store.start()
    printed = Path(log.name).read_text()
    assert status == 1, printed
    return printed


def test_without_rights_dvc_says_so_and_local_work_goes_on(store, second):
    owner, _ = store.access_key.split(":")
    refused = {
        "push": {"AWS_SECRET_ACCESS_KEY": "wrong"},
        "pull": {"AWS_ACCESS_KEY_ID": "nobody:owner"},
        "fetch": {"AWS_ACCESS_KEY_ID": f"{owner}:stranger"},
    }
    for command, keys in refused.items():
        done = second.run("dvc", command, **keys)
        assert done.returncode != 0
        assert "Forbidden" in done.stderr
        assert "Traceback" not in done.stderr

    keys = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    bare = {name: value for name, value in second.environment.items() if name not in keys}
    alone = replace(second, environment=bare | {"AWS_ENDPOINT_URL": NOWHERE})
    done = alone.run("dvc", "push")
    assert done.returncode != 0
    assert "Unable to locate credentials" in done.stderr
    assert "Traceback" not in done.stderr
    assert run_stages(alone.dvc("exp", "run", "--temp", "-S", "beta=0.7")) == [
        "check",
        "train",
        "evaluate",
    ]
    assert run_stages(alone.dvc("repro")) == []
