"""A real S3 store for the tests: OpenStack Swift behind its S3 interface, on loopback.

Swift comes from PyPI into .venv-swift, made once. Its four servers run as the caller, in a folder.
"""

import fcntl
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
REQUIREMENTS = Path(__file__).with_name("swift-requirements.txt")
SERVERS = ("account", "container", "object", "proxy")
START_SECONDS = 120  # of patience; on a quiet machine it takes 3

COMMON = """\
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
workers = 0
user = {user}
swift_dir = {folder}
devices = {folder}/dev
mount_check = false
fallocate_reserve = 0
# of patience with each other, on a busy machine
conn_timeout = 10
node_timeout = 60
container_update_timeout = 30
log_statsd_host =
log_udp_host =

"""
STORAGE = """\
[pipeline:main]
pipeline = {server}-server

[app:{server}-server]
use = egg:swift#{server}
recon_cache_path = {folder}/recon
"""
PROXY = """\
[pipeline:main]
pipeline = catch_errors gatekeeper listing_formats bulk s3api tempauth slo dlo proxy-server

[app:proxy-server]
use = egg:swift#proxy
allow_account_management = true
account_autocreate = true

[filter:s3api]
use = egg:swift#s3api
location = us-east-1
max_upload_part_num = 10000

[filter:tempauth]
use = egg:swift#tempauth
user_{account}_owner = {secret} .admin
user_{account}_stranger = {secret}

"""
PLAIN_FILTERS = ("catch_errors", "gatekeeper", "listing_formats", "bulk", "slo", "dlo")
# The three files that say where things are stored: one device each. (swift-ring-builder makes them
# in nine runs.)
BUILD_RINGS = """\
import sys
from swift.common.ring import RingBuilder

for name, port in (ring.split(":") for ring in sys.argv[1:]):
    builder = RingBuilder(part_power=4, replicas=1, min_part_hours=0)
    device = {"region": 1, "zone": 1, "ip": "127.0.0.1", "port": int(port), "device": "d1"}
    builder.add_dev(device | {"weight": 1})
    builder.rebalance()
    builder.get_ring().save(f"{name}.ring.gz")
"""
CLUSTER = """\
[swift-hash]
swift_hash_path_suffix = test

[storage-policy:0]
name = p0
default = yes
"""


def install(environment: Path = ROOT / ".venv-swift") -> Path:
    """Swift's programs, installed where they are missing.

    Raises `RuntimeError` with pip's reason when they cannot be installed.
    """
    environment.mkdir(exist_ok=True)
    done = environment / "installed.txt"
    with open(environment / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the suite runs two processes at once
        if not done.exists() or done.read_bytes() != REQUIREMENTS.read_bytes():
            venv.create(environment, with_pip=False)
            python = str(environment / "bin" / "python")
            options = ("--quiet", "--disable-pip-version-check", "--requirement", str(REQUIREMENTS))
            pip = subprocess.run(
                [sys.executable, "-m", "pip", "--python", python, "install", *options],
                capture_output=True,
                text=True,
            )
            if pip.returncode:
                raise RuntimeError(f"OpenStack Swift cannot be installed: {pip.stderr.strip()}")
            done.write_bytes(REQUIREMENTS.read_bytes())
    return environment / "bin"


@dataclass
class Store:
    """An S3 store with one owner; its keys are random, so that a search for them finds no other."""

    folder: Path
    programs: Path
    access_key: str
    secret_key: str
    ports: dict[str, int]
    processes: list[subprocess.Popen] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which DVC comes here."""
        return {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.ports['proxy']}",
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_EC2_METADATA_DISABLED": "true",
            "no_proxy": "127.0.0.1",
        }

    def start(self) -> None:
        """Start the four servers and wait until all accept connections."""
        for server in SERVERS:
            with open(self.folder / f"{server}.log", "ab") as log:
                command = [self.programs / f"swift-{server}-server", self._config(server)]
                self.processes.append(
                    subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
                )
        deadline = time.monotonic() + START_SECONDS
        while not all(map(_accepts, self.ports.values())):
            died = any(process.poll() is not None for process in self.processes)
            if died or time.monotonic() > deadline:
                self.stop(signal.SIGKILL)
                logs = [(self.folder / f"{server}.log").read_text() for server in SERVERS]
                raise RuntimeError("OpenStack Swift does not start:\n" + "\n".join(logs))
            time.sleep(0.05)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End the servers by their process ids; what they hold stays."""
        for process in self.processes:
            process.send_signal(how)
        for process in self.processes:
            process.wait(timeout=30)
        self.processes.clear()

    def objects(self) -> int:
        """How many objects lie on the disk."""
        return sum(1 for _ in (self.folder / "dev").rglob("*.data"))

    def _config(self, server: str) -> Path:
        return self.folder / f"{server}-server.conf"

    def write(self) -> None:
        """Write the configuration and the rings of an empty store."""
        _require_attributes(self.folder)
        (self.folder / "dev" / "d1").mkdir(parents=True)
        (self.folder / "recon").mkdir()
        (self.folder / "swift.conf").write_text(CLUSTER)
        for server in SERVERS:
            text = COMMON + (PROXY if server == "proxy" else STORAGE)
            text = text.format(
                server=server,
                port=self.ports[server],
                user=pwd.getpwuid(os.getuid()).pw_name,
                folder=self.folder,
                account=self.access_key.split(":")[0],
                secret=self.secret_key,
            )
            if server == "proxy":
                text += "".join(f"[filter:{n}]\nuse = egg:swift#{n}\n\n" for n in PLAIN_FILTERS)
            self._config(server).write_text(text)
        rings = [f"{server}:{self.ports[server]}" for server in SERVERS if server != "proxy"]
        subprocess.run(
            [self.programs / "python", "-c", BUILD_RINGS, *rings], cwd=self.folder, check=True
        )


@contextmanager
def serving(folder: Path) -> Iterator[Store]:
    """An empty store in a new `folder`, serving for as long as the block lasts."""
    folder.mkdir()
    account = f"akia{secrets.token_hex(8)}"
    ports = dict(zip(SERVERS, _free_ports(len(SERVERS)), strict=True))
    store = Store(folder, install(), f"{account}:owner", secrets.token_hex(20), ports)
    store.write()
    store.start()
    try:
        yield store
    finally:
        store.stop()
        shutil.rmtree(folder / "dev")  # hundreds of megabytes that pytest would keep


def _free_ports(count: int) -> list[int]:
    """Ports that nobody listens on, below those that the system gives to outgoing connections."""
    free: list[int] = []
    while len(free) < count:
        port = 20_000 + secrets.randbelow(12_000)
        if port not in free and not _accepts(port):
            free.append(port)
    return free


def _accepts(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def _require_attributes(folder: Path) -> None:
    try:
        os.setxattr(folder, "user.test", b"1")
    except OSError as error:
        raise RuntimeError(
            f"{folder}: OpenStack Swift needs a file system with user attributes; point TMPDIR at "
            f"one ({error})"
        ) from None
