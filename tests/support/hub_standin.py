"""A stand-in for the Hugging Face Hub, over HTTP on loopback, serving and filling a folder.

    python -m tests.support.hub_standin FOLDER

serves FOLDER, filled by tests/hub_repos.py if it is new, and prints the address.

`FOLDER/models/user/name/` and `FOLDER/datasets/user/name/` are repositories with one branch,
`main`; its commit is a hash of the files. The real clients come here by `HF_ENDPOINT`. As on the
Hub, a large file is found under one host name and downloaded from another, here `localhost`.

`FOLDER/faults.json` makes repositories fail, such as {"models/user/name": {"status": 500}}:
    {"status": 500}   every request for it gets this answer
    {"gated": true}   it can be seen, but its files are refused
    {"drop": 2}       two downloads of large files stop half-way with the connection closed
    {"corrupt": true} its large files arrive with one byte changed
"""

import base64
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

from tests.support.hub_store import Repo

TOKEN = "hf_standin"  # noqa: S105 - the one login that may publish here
REPO = r"(?P<repo>[\w.-]+/[\w.-]+)"
IN_API = rf"^/api/(?P<kind>models|datasets)/{REPO}"
IN_SITE = rf"^/(?:(?P<kind>datasets)/)?{REPO}"


class Refused(Exception):
    """An answer other than success, with the error code by which the clients know it."""

    def __init__(self, status: int, code: str = "", message: str = ""):
        super().__init__(message)
        self.status, self.code, self.message = status, code, message or code


class Hub(ThreadingHTTPServer):
    """The server; `requests` lists what was asked, as (method, path, range), in order."""

    daemon_threads = True

    def __init__(self, folder: Path, port: int = 0):
        super().__init__(("127.0.0.1", port), _Handler)
        self.folder = Path(folder)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.large_url = f"http://localhost:{self.server_port}"
        self.requests: list[tuple[str, str, str]] = []
        faults = self.folder / "faults.json"
        self.faults = json.loads(faults.read_text()) if faults.exists() else {}

    def environment(self, home: Path) -> dict[str, str]:
        """What a client needs to come here, logged out, with `home` as its Hub folder."""
        return {
            "HF_ENDPOINT": self.url,
            "HF_HOME": str(home),
            "HF_TOKEN": "",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_XET": "1",  # uploads would need the Hub's second storage protocol
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
    """Finds the route of a request and answers it; the bodies are JSON but for the files."""

    protocol_version = "HTTP/1.1"
    server: Hub

    def log_message(self, *_: Any) -> None:
        """Quiet: `Hub.requests` holds what a test wants to know."""

    def do_GET(self) -> None:
        self._answer(
            (IN_API + r"(?:/revision/(?P<rev>[^/]+))?$", self.info),
            (IN_API + r"/tree/(?P<rev>[^/]+)(?:/(?P<path>.+))?$", self.tree),
            (IN_SITE + r"/resolve/(?P<rev>[^/]+)/(?P<path>.+)$", self.resolve),
            (r"^/large/(?P<kind>models|datasets)/" + REPO + r"/(?P<path>.+)$", self.large),
        )

    do_HEAD = do_GET

    def do_POST(self) -> None:
        self._answer(
            (IN_API + r"/paths-info/(?P<rev>[^/]+)$", self.paths_info),
            (IN_API + r"/preupload/(?P<rev>[^/]+)$", self.preupload),
            (IN_API + r"/commit/(?P<rev>[^/]+)$", self.commit),
            (IN_SITE + r"\.git/info/lfs/objects/batch$", self.lfs_batch),
            (r"^/api/repos/create$", self.create),
            (r"^/api/validate-yaml$", self.validate_yaml),
        )

    def do_PUT(self) -> None:
        self._answer((r"^/lfs/(?P<oid>[0-9a-f]{64})$", self.lfs_put))

    def _answer(self, *routes: tuple[str, Any]) -> None:
        self.server.requests.append((self.command, self.path, self.headers.get("Range", "")))
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        address = urlsplit(self.path)
        self.query = parse_qs(address.query)
        try:
            for pattern, answer in routes:
                if match := re.match(pattern, address.path):
                    parts = {key: unquote(part or "") for key, part in match.groupdict().items()}
                    return answer(**self._found(parts))
            raise Refused(404, message=f"no such call: {self.command} {address.path}")
        except Refused as refusal:
            headers = {"X-Error-Code": refusal.code, "X-Error-Message": refusal.message}
            self.send(refusal.status, {"error": refusal.message}, headers)

    def _found(self, parts: dict[str, str]) -> dict[str, Any]:
        """Replace `kind` and `repo` by the `Repo`, and check that it, and `rev`, exist."""
        if "repo" not in parts:
            return parts
        repo = Repo(self.server.folder, parts.pop("kind") or "models", parts["repo"])
        self.fault = self.server.faults.get(repo.key, {})
        if "status" in self.fault:
            raise Refused(self.fault["status"], message="made to fail")
        if not repo.folder.is_dir():
            # The Hub tells strangers no more than that they may not see it.
            raise Refused(404, "RepoNotFound") if self.known() else Refused(401)
        if parts.get("rev", "main") not in ("", "main", repo.commit()):
            raise Refused(404, "RevisionNotFound", f"Invalid rev id: {parts['rev']}")
        return {**parts, "repo": repo}

    def known(self) -> bool:
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def must_be_known(self) -> None:
        if not self.known():
            raise Refused(401, message="Invalid username or password.")

    def send(self, status: int, content: Any, headers: dict[str, str] | None = None) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for key, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    # Reading

    def info(self, repo: Repo, rev: str) -> None:
        self.send(200, repo.info())

    def tree(self, repo: Repo, rev: str, path: str) -> None:
        if not (repo.folder / path).is_dir():
            raise Refused(404, "EntryNotFound")
        self.send(200, repo.tree(path, self.query.get("recursive") in (["true"], ["True"])))

    def paths_info(self, repo: Repo, rev: str) -> None:
        wanted = parse_qs(self.body.decode()).get("paths", [])
        self.send(200, [repo.entry(name) for name in wanted if (repo.folder / name).exists()])

    def resolve(self, repo: Repo, rev: str, path: str) -> None:
        if self.fault.get("gated"):
            raise Refused(403 if self.known() else 401, "GatedRepo", "Access is restricted")
        headers = {"X-Repo-Commit": repo.commit()}
        if path not in repo.files():
            return self.send(404, b"", {**headers, "X-Error-Code": "EntryNotFound"})
        entry = repo.entry(path)
        if "lfs" not in entry:
            headers["ETag"] = f'"{entry["oid"]}"'
            return self.send_file((repo.folder / path).read_bytes(), headers)
        headers["Location"] = f"{self.server.large_url}/large/{repo.key}/{path}"
        headers["X-Linked-ETag"] = f'"{entry["lfs"]["oid"]}"'
        headers["X-Linked-Size"] = str(entry["size"])
        self.send(302, b"", headers)

    def large(self, repo: Repo, path: str) -> None:
        content = (repo.folder / path).read_bytes()
        if self.fault.get("corrupt"):
            content = content[:-1] + bytes([content[-1] ^ 1])
        self.send_file(content, {})

    def send_file(self, content: bytes, headers: dict[str, str]) -> None:
        """Send all of it, or from where the client asks to go on; stop half-way to order."""
        status, headers = 200, {**headers, "Accept-Ranges": "bytes"}
        if asked := re.match(r"bytes=(\d+)-", self.headers.get("Range", "")):
            status, start = 206, int(asked[1])
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            content = content[start:]
        headers["Content-Length"] = str(len(content))
        if self.path.startswith("/large/") and self.fault.get("drop"):
            self.fault["drop"] -= 1
            self.close_connection = True
            content = content[: len(content) // 2]
        self.send(status, content, headers)

    # Publishing

    def create(self) -> None:
        self.must_be_known()
        asked = json.loads(self.body)
        name = f"{asked['organization']}/{asked['name']}"
        repo = Repo(self.server.folder, f"{asked.get('type', 'model')}s", name)
        url = f"{self.server.url}/{'datasets/' if repo.kind == 'datasets' else ''}{name}"
        status = 409 if repo.folder.exists() else 200
        repo.folder.mkdir(parents=True, exist_ok=True)
        self.send(status, {"url": url})

    def validate_yaml(self) -> None:
        self.send(200, {"errors": [], "warnings": []})

    def preupload(self, repo: Repo, rev: str) -> None:
        self.must_be_known()
        names = [file["path"] for file in json.loads(self.body)["files"]]
        modes = ["lfs" if repo.is_large(name) else "regular" for name in names]
        files = [
            {"path": name, "shouldIgnore": False, "uploadMode": mode}
            for name, mode in zip(names, modes, strict=True)
        ]
        self.send(200, {"files": files})

    def lfs_batch(self, repo: Repo) -> None:
        self.must_be_known()
        objects = [
            {**wanted, "actions": {"upload": {"href": f"{self.server.url}/lfs/{wanted['oid']}"}}}
            for wanted in json.loads(self.body)["objects"]
        ]
        self.send(200, {"transfer": "basic", "objects": objects})

    def lfs_put(self, oid: str) -> None:
        if hashlib.sha256(self.body).hexdigest() != oid:
            raise Refused(400, message="content and hash differ")
        store = self.server.folder / "lfs"
        store.mkdir(exist_ok=True)
        (store / oid).write_bytes(self.body)
        self.send(200, b"")

    def commit(self, repo: Repo, rev: str) -> None:
        self.must_be_known()
        for line in self.body.splitlines():
            operation = json.loads(line)
            value = operation["value"]
            if operation["key"] == "file":
                repo.put(value["path"], base64.b64decode(value["content"]))
            elif operation["key"] == "lfsFile":
                stored = self.server.folder / "lfs" / value["oid"]
                repo.put(value["path"], stored.read_bytes())
        oid = repo.commit()
        url = f"{self.server.url}/{repo.name}/commit/{oid}"
        self.send(200, {"commitUrl": url, "commitOid": oid})


def run_client(hub: Hub, home: Path, code: str, **environment: str) -> CompletedProcess[str]:
    """Run Python `code` in a process of its own, whose Hub clients come to `hub`."""
    environment = {**os.environ, **hub.environment(home), **environment}
    command = [sys.executable, "-c", dedent(code)]
    return run(command, env=environment, capture_output=True, text=True, check=False)


def main(arguments: list[str]) -> None:
    folder = Path(arguments[0])
    if not folder.exists():
        from tests.support.hub_repos import build_all

        build_all(folder)
    with Hub(folder) as hub:
        print(hub.url, flush=True)
        hub.serve_forever()


if __name__ == "__main__":
    main(sys.argv[1:])
