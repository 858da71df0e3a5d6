"""A stand-in for the Hugging Face Hub, over HTTP on loopback, serving a folder.

    python -m tests.support.hub_standin FOLDER

serves FOLDER, filled by hub_repos.py if it is new, and prints the address.

`FOLDER/models/user/name/` and `FOLDER/datasets/user/name/` are repositories with one branch,
`main`; its commit is a hash of the files. The real clients come here by `HF_ENDPOINT`. As on the
Hub, a large file is found under one host name and downloaded from another, here `localhost`.

`Hub.faults` makes repositories fail, such as {"models/user/name": {"status": 500}}:
    {"status": 500}   every request for it gets this answer
    {"gated": True}   it can be seen, but its files are refused
    {"drop": 2}       two downloads of large files stop half-way with the connection closed
    {"corrupt": True} its large files arrive with one byte changed
"""

import hashlib
import json
import os
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from subprocess import CompletedProcess, run
from textwrap import dedent
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from fdpo.core.files import sha256

LARGE = (".safetensors", ".bin", ".parquet")  # kept in LFS at any size
ADDRESS = re.compile(
    r"/(?P<part>api/|large/)?(?:(?P<kind>models|datasets)/)?(?P<repo>[\w.-]+/[\w.-]+)"
    r"(?:/(?P<call>revision|tree|paths-info|resolve)/(?P<rev>[^/]+))?(?:/(?P<path>.+))?$"
)


class Repo:
    """One repository on disk and what the Hub says about it."""

    def __init__(self, root: Path, kind: str, name: str):
        self.name, self.key = name, f"{kind}/{name}"
        self.folder = root / kind / name

    def files(self) -> dict[str, Path]:
        paths = (path for path in sorted(self.folder.rglob("*")) if path.is_file())
        return {path.relative_to(self.folder).as_posix(): path for path in paths}

    def commit(self) -> str:
        listed = "".join(f"{name} {sha256(path)}\n" for name, path in self.files().items())
        return _sha1(listed.encode())

    def entry(self, path: Path) -> dict[str, Any]:
        """A file or folder as the calls tree and paths-info list it."""
        name = path.relative_to(self.folder).as_posix()
        if path.is_dir():
            return {"type": "directory", "path": name, "oid": "0" * 40}
        content = path.read_bytes()
        size, blob = len(content), b"blob %d\0" % len(content) + content  # as Git names it
        entry = {"type": "file", "path": name, "size": size, "oid": _sha1(blob)}
        if name.endswith(LARGE):
            entry["lfs"] = {"oid": sha256(path), "size": size, "pointerSize": 134}
        return entry


def _sha1(content: bytes) -> str:
    return hashlib.sha1(content, usedforsecurity=False).hexdigest()


class Hub(ThreadingHTTPServer):
    """The server; `requests` lists what was asked, as (method, path, range), in order."""

    daemon_threads = True

    def __init__(self, folder: Path):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder = Path(folder)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.requests: list[tuple[str, str, str]] = []
        self.faults: dict[str, dict[str, Any]] = {}

    def environment(self, home: Path) -> dict[str, str]:
        """What a client needs to come here, logged out, with `home` as its Hub folder."""
        return {
            "HF_ENDPOINT": self.url,
            "HF_HOME": str(home),
            "HF_TOKEN": "",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "NO_PROXY": "127.0.0.1,localhost",
        }


@contextmanager
def serving(folder: Path) -> Iterator[Hub]:
    """Serve `folder` from a thread for as long as the block lasts."""
    with Hub(folder) as hub:
        threading.Thread(target=hub.serve_forever, daemon=True).start()
        try:
            yield hub
        finally:
            hub.shutdown()


class _Handler(BaseHTTPRequestHandler):
    """Answers requests; the bodies are JSON but for the files."""

    protocol_version = "HTTP/1.1"
    server: Hub

    def log_message(self, *_: Any) -> None:
        """Quiet: `Hub.requests` holds what a test wants to know."""

    def do_GET(self) -> None:
        self.server.requests.append((self.command, self.path, self.headers.get("Range", "")))
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        url = urlsplit(self.path)
        asked = ADDRESS.match(unquote(url.path))
        if asked is None:
            return self.refuse(404)
        repo = Repo(self.server.folder, asked["kind"] or "models", asked["repo"])
        fault = self.server.faults.get(repo.key, {})
        path = repo.folder / (asked["path"] or "")
        if "status" in fault:
            self.refuse(fault["status"])
        elif not repo.folder.is_dir():
            self.refuse(401)  # the Hub tells strangers no more than that they may not see it
        elif asked["rev"] not in (None, "main", repo.commit()):
            self.refuse(404, "RevisionNotFound")
        elif asked["part"] == "large/":
            self.send_large(path.read_bytes(), fault)
        elif asked["call"] == "resolve" and fault.get("gated"):
            self.refuse(401, "GatedRepo")
        elif asked["call"] == "resolve":
            self.resolve(repo, path)
        elif asked["call"] == "paths-info":
            paths = [repo.folder / name for name in parse_qs(body).get("paths", [])]
            self.send(200, [repo.entry(path) for path in paths if path.exists()])
        elif asked["call"] == "tree" and path.is_dir():
            recursive = parse_qs(url.query).get("recursive") in (["true"], ["True"])
            paths = sorted(path.glob("**/*" if recursive else "*"))
            self.send(200, [repo.entry(path) for path in paths])
        elif asked["call"] == "tree":
            self.refuse(404, "EntryNotFound")
        else:
            siblings = [{"rfilename": name} for name in repo.files()]
            info = {"id": repo.name, "sha": repo.commit(), "siblings": siblings, "private": False}
            self.send(200, info)

    do_HEAD = do_POST = do_GET

    def resolve(self, repo: Repo, path: Path) -> None:
        """A file, or where a large one is."""
        headers = {"X-Repo-Commit": repo.commit()}
        if not path.is_file():
            return self.send(404, b"", {**headers, "X-Error-Code": "EntryNotFound"})
        entry = repo.entry(path)
        if "lfs" not in entry:
            return self.send(200, path.read_bytes(), {**headers, "ETag": f'"{entry["oid"]}"'})
        large = f"http://localhost:{self.server.server_port}/large/{repo.key}/{entry['path']}"
        headers["X-Linked-ETag"] = f'"{entry["lfs"]["oid"]}"'
        self.send(302, b"", {**headers, "Location": large, "X-Linked-Size": str(entry["size"])})

    def send_large(self, content: bytes, fault: dict[str, Any]) -> None:
        """Send all of it, or from where the client asks to go on."""
        status, headers = 200, {"Accept-Ranges": "bytes"}
        if fault.get("corrupt"):
            content = content[:-1] + bytes([content[-1] ^ 1])
        if asked := re.match(r"bytes=(\d+)-", self.headers.get("Range", "")):
            status, start = 206, int(asked[1])
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            content = content[start:]
        headers["Content-Length"] = str(len(content))
        if fault.get("drop"):
            fault["drop"] -= 1
            self.close_connection = True
            content = content[: len(content) // 2]
        self.send(status, content, headers)

    def refuse(self, status: int, code: str = "") -> None:
        self.send(status, {"error": code}, {"X-Error-Code": code, "X-Error-Message": code})

    def send(self, status: int, content: Any, headers: dict[str, str] | None = None) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for key, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def run_client(hub: Hub, home: Path, code: str, **environment: str) -> CompletedProcess[str]:
    """Run Python `code` in a process of its own, whose Hub clients come to `hub`."""
    environment = {**os.environ, **hub.environment(home), **environment}
    command = [sys.executable, "-c", dedent(code)]
    return run(command, env=environment, capture_output=True, text=True, check=False)


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    if not folder.exists():
        from tests.support.hub_repos import build_all

        build_all(folder)
    with Hub(folder) as hub:
        print(hub.url, flush=True)
        hub.serve_forever()
