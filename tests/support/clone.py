"""A copy of the project in a Git repository of its own, and DVC in it, far from the user's own."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.support import embedded_fakes
from tests.support.settings import edited_study, set_knobs

ROOT = Path(__file__).parents[2]
PYTHON_FOLDER = Path(sys.executable).parent
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
        """A command's end; what it printed is as it was, carriage returns included."""
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment | environment,
            capture_output=True,
            check=False,
            timeout=1200,
        )
        printed = (done.stdout.decode(), done.stderr.decode())
        return subprocess.CompletedProcess(command, done.returncode, *printed)

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


def make(scratch: Path) -> Clone:
    """Clone the working tree into `scratch`, with a tiny model and few prompts."""
    packages = embedded_fakes.build(scratch / "packages")
    clone = working_copy(scratch)
    clone = Clone(clone.folder, clone.environment | packages.environment)
    shrink(clone.folder, packages)
    clone.git("init", "--quiet", "--initial-branch=main")
    clone.git("add", "--all")
    clone.git("commit", "--quiet", "--message=start")
    return clone


def environment(scratch: Path) -> dict[str, str]:
    home = scratch / "home"
    config = home / "dvc"
    config.mkdir(parents=True)
    (config / "config").write_text("[core]\n    analytics = false\n    check_update = false\n")
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    own = {
        "HOME": str(home),
        "HF_HOME": str(home / "hub"),
        "PATH": os.pathsep.join([str(PYTHON_FOLDER), os.environ["PATH"]]),
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "DVC_GLOBAL_CONFIG_DIR": str(config),
        "DVC_SYSTEM_CONFIG_DIR": str(config),
        "DVC_SITE_CACHE_DIR": str(home / "site"),
        "DVC_NO_ANALYTICS": "1",
    }
    proxies = {f"{kind}_proxy": NOWHERE for kind in ("http", "https", "all")}
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


def shrink(folder: Path, packages: embedded_fakes.FakePackages) -> None:
    """Give the study embedded few prompts and tokens, and the stand-ins' hashes."""
    set_knobs(folder, study="embedded", loss="sigmoid", beta=0.1, lr="auto")
    with edited_study(folder) as study:
        study["prepare"]["model"]["sha256"] = packages.model_sha256
        study["prepare"]["snippets"]["sha256"] = packages.snippets_sha256
        study["prepare"]["judge"]["sha256"] = packages.judge_sha256
        study["prepare"] |= {"train_prompts": 10, "heldout_prompts": 8}
        study["generate"]["train"]["max_new_tokens"] = 8
        study["generate"]["heldout"]["max_new_tokens"] = 8
        # A shape of the tests' own, so that the default study's may change.
        study["pair"]["ranks"] = [[1, 4], [1, 5], [1, 6], [2, 6], [3, 6], [4, 6]]
        study["split"]["test_size"] = 0.2
        study["train"] |= {"epochs": 2, "pairs_per_step": 12}
        study["evaluate"]["distinct_budget"] = 50
