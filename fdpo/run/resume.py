"""Work that outlives its process: what a stage has done so far, kept outside of DVC's outputs.

DVC removes a stage's outputs before it runs the stage, so what an interrupted run had done lies in
.ckpt/<stage>-<key>/ under the repository's root. The key is a hash of all that the result depends
on: another run's work is never picked up, and a lock keeps two processes from the same work.
"""

import hashlib
import importlib.metadata
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import torch
from filelock import FileLock, Timeout
from pydantic import TypeAdapter

from fdpo.core.device import device
from fdpo.core.errors import UserError
from fdpo.core.files import sha256
from fdpo.run import processes
from fdpo.run.stage import deps, steady_params

UNFINISHED = ".ckpt"  # ignored by Git, and outside of DVC's outputs
# Another version of one of these may compute other bytes.
LIBRARIES = ("torch", "transformers", "trl", "peft", "accelerate", "tokenizers", "numpy")


@contextmanager
def folder(stage: str, *settings: object) -> Iterator[Path]:
    """The folder for unfinished work of `stage`: kept when the block fails, else removed.

    The result depends on `settings` (records or plain values) and the stage's deps in dvc.yaml.
    Raises `UserError` where another process is at the same work, or the params were changed.
    """
    root = Path(os.environ.get("DVC_ROOT", "."), UNFINISHED)  # the repository's, in --temp too
    work = root / f"{stage}-{_key(stage, settings)}"
    with ExitStack() as held:
        if processes.is_main():
            root.mkdir(exist_ok=True)
            try:
                held.enter_context(FileLock(work.with_suffix(".lock"), timeout=1))
            except Timeout:
                raise UserError(f"{stage}: another process is at it; wait, or end it") from None
            work.mkdir(exist_ok=True)
        processes.wait()
        with steady_params(stage):  # before the work is removed
            yield work
        processes.wait()
        if processes.is_main():
            shutil.rmtree(work)


def _key(stage: str, settings: Sequence[object]) -> str:
    """A hash of the settings, the stage's deps, and the device and libraries that compute."""
    digest = hashlib.sha256()
    for value in settings:
        digest.update(TypeAdapter(object).dump_json(value) + b"\0")
    versions = [importlib.metadata.version(library) for library in LIBRARIES]
    name = torch.cuda.get_device_name() if device().type == "cuda" else "cpu"
    digest.update("\0".join([*versions, name]).encode())
    inside = {path for dep in deps(stage) for path in (dep, *dep.rglob("*"))}
    for path in sorted(inside):
        if path.is_file() and "__pycache__" not in path.parts:
            digest.update(f"{path}{sha256(path)}".encode())
    return digest.hexdigest()[:16]
