"""A real S3 store on loopback: SeaweedFS, one program from PyPI, in a folder of its own."""

import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import botocore.session
from botocore.client import BaseClient
from botocore.config import Config

from fdpo.core.files import write_json

START_SECONDS = 120  # of patience; on a quiet machine it takes 5
SERVERS = ("master", "volume", "filer", "s3")


@dataclass
class Store:
    """A store with one bucket, `shared`, and one owner, whose keys are random."""

    folder: Path
    ports: dict[str, int]
    access_key: str = field(default_factory=lambda: f"akia{secrets.token_hex(8)}")
    secret_key: str = field(default_factory=lambda: secrets.token_hex(20))
    process: subprocess.Popen | None = None

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which DVC comes here."""
        return {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.ports['s3']}",
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_EC2_METADATA_DISABLED": "true",
            "no_proxy": "127.0.0.1",
        }

    def client(self) -> BaseClient:
        """Another S3 client than DVC's, with the owner's keys."""
        return botocore.session.Session().create_client(
            "s3",
            region_name="us-east-1",
            endpoint_url=self.environment["AWS_ENDPOINT_URL"],
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            config=Config(proxies={}),
        )

    def start(self) -> None:
        """Start the store on what its folder holds; wait until it takes an object."""
        owner = {
            "name": "owner",
            "credentials": [{"accessKey": self.access_key, "secretKey": self.secret_key}],
            "actions": ["Admin", "Read", "Write", "List"],
        }
        write_json(self.folder / "s3.json", {"identities": [owner]})
        options = {
            "dir": self.folder,
            "ip": "127.0.0.1",
            "ip.bind": "127.0.0.1",
            "master.telemetry": "false",
            "master.volumeSizeLimitMB": 64,
            "volume.max": 20,
            "s3": "true",
            "s3.config": self.folder / "s3.json",
            "s3.iam": "false",
            "s3.port.iceberg": 0,
            "s3.port.lance": 0,
        }
        for name, port in self.ports.items():
            options |= {f"{name}.port": port, f"{name}.port.grpc": port + 1}
        program = Path(sys.executable).with_name("weed")
        log = self.folder / "log.txt"
        with open(log, "ab") as out:
            self.process = subprocess.Popen(
                [program, "server", *(f"-{name}={value}" for name, value in options.items())],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )
        deadline = time.monotonic() + START_SECONDS
        while not self._takes_an_object():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"SeaweedFS does not start:\n{log.read_text()}")
            time.sleep(0.1)

    def kill(self) -> None:
        """End the store as a failing machine does; what it holds stays."""
        self.process.kill()
        self.process.wait()
        for name, port in self.ports.items():
            for socket_name in (f"{name}-{port}", f"{name}-grpc-{port + 1}"):
                Path(f"/tmp/seaweedfs-{socket_name}.sock").unlink(missing_ok=True)  # noqa: S108

    def size(self) -> int:
        """Bytes of the objects on the disk."""
        return sum(path.stat().st_size for path in self.folder.glob("*.dat"))

    def _takes_an_object(self) -> bool:
        if any(not accepts(port) for port in self.ports.values()):
            return False
        try:
            self.client().put_object(Bucket="shared", Key="started", Body=b"")
        except Exception:  # it answers with errors until its servers have found each other
            return False
        return True


def accepts(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def serving(folder: Path) -> Iterator[Store]:
    """An empty store in `folder`; who kills it within the block starts it again."""
    first = 20_000 + 8 * secrets.randbelow(1_500)  # below the ports of outgoing connections
    while any(accepts(first + i) for i in range(8)):
        first = 20_000 + 8 * secrets.randbelow(1_500)
    store = Store(folder, {name: first + 2 * i for i, name in enumerate(SERVERS)})
    try:
        store.start()
        yield store
    finally:
        store.kill()
        shutil.rmtree(folder)  # hundreds of megabytes that pytest would keep
