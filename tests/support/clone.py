"""A copy of the project in a Git repository of its own, and DVC in it, far from the user's own."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.support.settings import ROOT

NOWHERE = "http://127.0.0.1:9"  # whoever asks for the network finds nobody
IDENTITY = {
    f"GIT_{role}_{field}": value
    for role in ("AUTHOR", "COMMITTER")
    for field, value in (("NAME", "tester"), ("EMAIL", "tester@localhost"))
}


@dataclass(frozen=True)
class Clone:
    """A Git repository with the project's working tree, committed."""

    folder: Path
    environment: dict[str, str]

    def run(self, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment | environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=1200,
        )

    def dvc(self, *arguments: str, **environment: str) -> str:
        """What a DVC command that must succeed printed, errors included."""
        done = self.run(sys.executable, "-m", "dvc", *arguments, **environment)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """A DVC command with its stages in a process group of their own, as in a terminal."""
        return subprocess.Popen(
            [sys.executable, "-m", "dvc", *arguments],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def git(self, *arguments: str) -> str:
        done = self.run("git", *arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def bytes(self, path: str) -> bytes:
        return (self.folder / path).read_bytes()


def environment(scratch: Path) -> dict[str, str]:
    """The variables of the tests' own, with a home in `scratch` and no network."""
    home, config = scratch / "home", scratch / "home/dvc"
    config.mkdir(parents=True)
    (config / "config").write_text("[core]\n    analytics = false\n    check_update = false\n")
    own = {
        "HOME": str(home),
        "HF_HOME": str(home / "hub"),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "DVC_GLOBAL_CONFIG_DIR": str(config),
        "DVC_SYSTEM_CONFIG_DIR": str(config),
        "DVC_SITE_CACHE_DIR": str(home / "site"),
        "DVC_NO_ANALYTICS": "1",
    }
    proxies = {f"{kind}_proxy": NOWHERE for kind in ("http", "https", "all")}
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return inherited | own | proxies | IDENTITY


def working_copy(scratch: Path) -> Clone:
    """What Git tracks or would track, as it stands, in a folder that is no repository yet.

    It has no results of earlier runs.
    """
    clone = Clone(scratch / "clone", environment(scratch))
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.check_output(command, cwd=ROOT, text=True).split("\0"):
        source, target = ROOT / name, clone.folder / name
        if source.is_file() and name != "dvc.lock" and not name.startswith("results/"):
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(source.read_bytes())
    return clone
