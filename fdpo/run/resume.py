"""Work that outlives its process: what a stage has done so far, kept outside of DVC's outputs.

DVC removes a stage's outputs before it runs the stage, so what an interrupted run had done lies in
.ckpt/<stage>-<key>/ under the repository's root. The key is a hash of all that the result depends
on; another run's work is never picked up, and two processes never continue the same.

A stage that DVC runs is safe only when DVC has taken its outputs into the cache, some time after
the stage's end. Until then its work stays as .ckpt/<stage>-<key>.finished: a run that is killed in
between, or finds the cache's disk full, goes on from there.
"""

import hashlib
import importlib.metadata
import os
import shutil
from collections.abc import Iterator, Sequence
from configparser import ConfigParser
from contextlib import contextmanager
from pathlib import Path

import torch
from pydantic import TypeAdapter

from fdpo.core.device import device
from fdpo.core.errors import UserError
from fdpo.core.files import read_json_object, sha256, write_json
from fdpo.run import processes, stage_deps
from fdpo.run.locks import UNFINISHED, exclusive_lock

# Another version of one of these may compute other bytes.
LIBRARIES = ("torch", "transformers", "trl", "peft", "accelerate", "tokenizers", "numpy")
FINISHED, REMOVED = ".finished", ".removed"
KEPT = 4  # finished folders per stage whose outputs are not found in the cache
OUTPUTS = "outputs.json"


@contextmanager
def folder(stage: str, *settings: object) -> Iterator[Path]:
    """The folder for unfinished work of `stage`: kept when the block fails.

    It is made where it is missing, and within the block it belongs to this process and to those
    launched with it.

    Args:
        stage: as dvc.yaml names it. Its inputs and code are those that dvc.yaml names as its deps.
        settings: the parameter values (records or plain values) that the result depends on.

    Raises:
        UserError: there is no dvc.yaml, or another process is at the same work.
    """
    root = Path(os.environ.get("DVC_ROOT", "."), UNFINISHED)  # the repository's, in --temp too
    work = root / f"{stage}-{_key(stage, settings)}"
    finished = work.with_suffix(FINISHED)
    if processes.is_main():
        remove_finished(root)
    with exclusive_lock(work.with_suffix(".lock"), stage):
        if processes.is_main():
            if finished.exists() and not work.exists():
                finished.replace(work)
            work.mkdir(exist_ok=True)
        processes.wait()
        yield work
        processes.wait()
        if processes.is_main():
            if "DVC_ROOT" in os.environ:
                write_json(work / OUTPUTS, _md5s(stage_deps.cached_outs(stage)))
                work.replace(finished)
            else:  # nobody commits the outputs after this
                _remove(work)


def _key(stage: str, settings: Sequence[object]) -> str:
    """A hash of the settings, the stage's deps, and the device and libraries that compute."""
    digest = hashlib.sha256()
    for value in settings:
        digest.update(TypeAdapter(object).dump_json(value) + b"\0")
    versions = [importlib.metadata.version(library) for library in LIBRARIES]
    name = torch.cuda.get_device_name() if device().type == "cuda" else "cpu"
    digest.update("\0".join([*versions, name]).encode())
    for path in _files(stage_deps.deps(stage)):
        digest.update(f"{path}{sha256(path)}".encode())
    return digest.hexdigest()[:16]


def _files(paths: Sequence[Path]) -> list[Path]:
    """The files among `paths`, and those in the folders among them, without compiled code."""
    inside = [
        file
        for path in paths
        if path.is_dir()
        for file in path.rglob("*")
        if "__pycache__" not in file.parts
    ]
    return sorted(path for path in [*paths, *inside] if path.is_file())


def remove_finished(root: Path) -> None:
    """Remove the finished work in `root` whose outputs are in DVC's cache, and the oldest rest."""
    for leftover in root.glob(f"*{REMOVED}"):
        shutil.rmtree(leftover, ignore_errors=True)
    newest_first = sorted(root.glob(f"*{FINISHED}"), key=_age)
    seen: dict[str, int] = {}
    for finished in newest_first:
        stage = finished.name.rpartition("-")[0]
        if _in_cache(finished, root.parent) or seen.get(stage, 0) >= KEPT:
            try:
                with exclusive_lock(finished.with_suffix(".lock"), stage):
                    _remove(finished)
            except UserError:  # another run has just picked it up
                continue
        else:
            seen[stage] = seen.get(stage, 0) + 1


def _age(path: Path) -> float:
    try:
        return -path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _remove(path: Path) -> None:
    """Remove a folder of work, so that nothing half removed is ever picked up."""
    removed = path.with_suffix(REMOVED)
    shutil.rmtree(removed, ignore_errors=True)
    try:
        path.replace(removed)
    except FileNotFoundError:
        return
    shutil.rmtree(removed, ignore_errors=True)


def _md5s(outputs: Sequence[Path]) -> dict[str, str]:
    """The MD5 of every file of a stage's outputs: its name in DVC's cache."""
    found = {}
    for path in _files(outputs):
        with open(path, "rb") as content:
            found[str(path)] = hashlib.file_digest(
                content, lambda: hashlib.md5(usedforsecurity=False)
            ).hexdigest()
    return found


def _in_cache(finished: Path, repository: Path) -> bool:
    """Whether DVC's cache has all outputs of a finished stage."""
    try:
        md5s = read_json_object(finished / OUTPUTS).values()
    except UserError:
        return False
    files = _cache(repository) / "files/md5"
    return all((files / md5[:2] / md5[2:]).exists() for md5 in md5s)


def _cache(repository: Path) -> Path:
    """DVC's cache, as the repository's own configuration says."""
    config = ConfigParser(interpolation=None)
    config.read([repository / ".dvc/config", repository / ".dvc/config.local"])
    return repository / ".dvc" / config.get("cache", "dir", fallback="cache").strip("'\"")
