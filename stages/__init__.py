"""The stages of dvc.yaml, a script each: read inputs, call the library, write outputs."""

import importlib.util
import os
import sys
import warnings
from pathlib import Path


def _use_project_python() -> None:
    """Run under the project's .venv when called with a Python that lacks the requirements.

    DVC runs a stage with the `python3` of its caller's PATH, which without an activated
    environment is the system's.
    """
    if all(map(importlib.util.find_spec, ("pydantic", "torch", "dvclive"))):
        return
    own = Path(os.environ.get("DVC_ROOT", "."), ".venv")
    if (own / "bin" / "python3").exists() and Path(sys.prefix) != own.resolve():
        python = str(own / "bin" / "python3")
        os.execv(python, [python, *sys.orig_argv[1:]])  # noqa: S606 - no shell is wanted
    print(
        f"error: {sys.executable} lacks the project's requirements; run `make install`, then "
        "`source .venv/bin/activate`",
        file=sys.stderr,
    )
    sys.exit(2)


_use_project_python()
# Threads that wait for work by spinning take the cores from others: on a shared machine a stage
# took several times as long; on a quiet one sleeping costs nothing that can be measured.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
# Libraries' notes to each other and bars for work of a second; the stages report what takes long.
warnings.filterwarnings("ignore", category=FutureWarning)
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")  # TRL would report every run
