"""A real S3 store on loopback: SeaweedFS, one program from PyPI, in a folder of its own."""

import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from s3fs import S3FileSystem

from fdpo.core.files import write_json

START_SECONDS = 120  # of patience; on a quiet machine it takes 5
ACCESS_KEY, SECRET_KEY = f"akia{secrets.token_hex(8)}", secrets.token_hex(20)


@dataclass
class Store:
    """A store with one bucket, `shared`, and one owner."""

    folder: Path
    port: int  # of S3, and the first of eight
    process: subprocess.Popen | None = None

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which DVC comes here."""
        return {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.port}",
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_EC2_METADATA_DISABLED": "true",
            "no_proxy": "127.0.0.1",
        }

    def files(self) -> S3FileSystem:
        """The store's objects, by the owner's keys; `shared/name` is a path."""
        url = self.environment["AWS_ENDPOINT_URL"]
        options = {"endpoint_url": url, "region_name": "us-east-1"}
        return S3FileSystem(
            key=ACCESS_KEY,
            secret=SECRET_KEY,
            client_kwargs=options,
            config_kwargs={"proxies": {}},
            use_listings_cache=False,
            skip_instance_cache=True,
        )

    def start(self) -> None:
        """Start the store on what its folder holds; wait until it takes an object."""
        keys = {"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}
        owner = {"name": "owner", "credentials": [keys], "actions": ["Admin"]}
        write_json(self.folder / "s3.json", {"identities": [owner]})
        options = {"dir": self.folder, "ip": "127.0.0.1", "master.telemetry": "false"}
        options |= {"master.volumeSizeLimitMB": 64, "volume.max": 20, "s3": "true"}
        options |= {"s3.config": self.folder / "s3.json", "s3.iam": "false"}
        options |= {"s3.port.iceberg": 0, "s3.port.lance": 0}
        for number, name in enumerate(("s3", "master", "volume", "filer")):
            options[f"{name}.port"] = self.port + 2 * number
            options[f"{name}.port.grpc"] = self.port + 2 * number + 1
        command = [Path(sys.executable).with_name("weed"), "server"]
        command += [f"-{name}={value}" for name, value in options.items()]
        log = self.folder / "log.txt"
        with open(log, "ab") as out:
            self.process = subprocess.Popen(command, stdout=out, stderr=out)
        deadline = time.monotonic() + START_SECONDS
        while not self._takes_an_object():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"SeaweedFS does not start:\n{log.read_text()}")
            time.sleep(0.5)

    def _takes_an_object(self) -> bool:
        try:
            self.files().pipe_file("shared/started", b"")
        except Exception:  # it answers with errors until its servers have found each other
            return False
        return True

    def kill(self) -> None:
        """End the store as a failing machine does; what it holds stays."""
        self.process.kill()
        self.process.wait()
        for port in range(self.port, self.port + 8):
            for socket in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):  # noqa: S108
                socket.unlink()

    def size(self) -> int:
        """Bytes of the objects on the disk."""
        return sum(path.stat().st_size for path in self.folder.glob("*.dat"))


@contextmanager
def serving(folder: Path) -> Iterator[Store]:
    """An empty store in `folder`; who kills it within the block starts it again."""
    # Below the ports of outgoing connections.
    store = Store(folder, 20_000 + 8 * secrets.randbelow(1_500))
    try:
        store.start()
        yield store
    finally:
        store.kill()
        shutil.rmtree(folder)  # hundreds of megabytes that pytest would keep
