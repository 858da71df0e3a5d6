"""A real S3 store on loopback: SeaweedFS, one program from PyPI, in a folder of its own."""

import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from s3fs import S3FileSystem

from fdpo.core.files import write_json

START_SECONDS = 120  # of patience; on a quiet machine it takes 5
KEYS = {"accessKey": f"akia{secrets.token_hex(8)}", "secretKey": secrets.token_hex(20)}


class Store:
    """A store with one bucket, `shared`, and one owner."""

    def __init__(self, folder: Path):
        self.folder = folder
        # Of S3, and the first of eight; below the ports of outgoing connections.
        self.port = 20_000 + 8 * secrets.randbelow(1_500)
        self.url = f"http://127.0.0.1:{self.port}"
        self.environment = {  # by which DVC comes here
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": KEYS["accessKey"],
            "AWS_SECRET_ACCESS_KEY": KEYS["secretKey"],
            "AWS_EC2_METADATA_DISABLED": "true",
            "no_proxy": "127.0.0.1",
        }

    def files(self) -> S3FileSystem:
        """The store's objects; `shared/name` is a path."""
        return S3FileSystem(
            key=KEYS["accessKey"],
            secret=KEYS["secretKey"],
            client_kwargs={"endpoint_url": self.url, "region_name": "us-east-1"},
            config_kwargs={"proxies": {}},
            use_listings_cache=False,
            skip_instance_cache=True,
        )

    def start(self) -> None:
        """Start the store on what its folder holds; wait until it takes an object."""
        owner = {"name": "owner", "credentials": [KEYS], "actions": ["Admin"]}
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
        while True:
            try:
                self.files().pipe_file("shared/started", b"")
                return
            except Exception:  # it answers with errors until its servers have found each other
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"SeaweedFS does not start:\n{log.read_text()}") from None
                time.sleep(0.5)

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
    store = Store(folder)
    try:
        store.start()
        yield store
    finally:
        store.kill()
        shutil.rmtree(folder)  # hundreds of megabytes that pytest would keep
