"""A repository in a folder, and what the Hub says about its files."""

import hashlib
from pathlib import Path
from typing import Any

LARGE = (".safetensors", ".bin", ".parquet")  # kept in LFS, whatever their size


class Repo:
    """One repository on disk and what the Hub says about it."""

    def __init__(self, root: Path, kind: str, name: str):
        self.kind, self.name, self.key = kind, name, f"{kind}/{name}"
        self.folder = root / kind / name

    def files(self) -> dict[str, Path]:
        paths = (path for path in sorted(self.folder.rglob("*")) if path.is_file())
        return {path.relative_to(self.folder).as_posix(): path for path in paths}

    def commit(self) -> str:
        parts = [f"{name} {_sha256(path)}" for name, path in self.files().items()]
        return hashlib.sha1("\n".join(parts).encode(), usedforsecurity=False).hexdigest()

    def info(self) -> dict[str, Any]:
        siblings = [{"rfilename": name} for name in self.files()]
        return {"id": self.name, "sha": self.commit(), "siblings": siblings, "private": False}

    def entry(self, name: str) -> dict[str, Any]:
        """A file or folder as the calls tree and paths-info list it."""
        path = self.folder / name
        if path.is_dir():
            return {"type": "directory", "path": name, "oid": _git_blob(name.encode())}
        content = path.read_bytes()
        entry = {"type": "file", "path": name, "size": len(content), "oid": _git_blob(content)}
        if self.is_large(name):
            entry["lfs"] = {"oid": _sha256(path), "size": len(content), "pointerSize": 134}
        return entry

    def tree(self, inside: str, recursive: bool) -> list[dict[str, Any]]:
        paths = sorted((self.folder / inside).glob("**/*" if recursive else "*"))
        return [self.entry(path.relative_to(self.folder).as_posix()) for path in paths]

    def is_large(self, name: str) -> bool:
        return name.endswith(LARGE)

    def put(self, name: str, content: bytes) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _git_blob(content: bytes) -> str:
    header = b"blob %d\0" % len(content)
    return hashlib.sha1(header + content, usedforsecurity=False).hexdigest()
