"""The stages of dvc.yaml, a script each: read inputs, call the library, write outputs."""

import importlib.util
import os
import sys
from pathlib import Path


def _use_project_python() -> None:
    """Run under the project's .venv when called with a Python that lacks the requirements.

    DVC runs a stage with the `python3` of its caller's PATH, which without an activated
    environment is the system's.
    """
    if importlib.util.find_spec("pydantic") and importlib.util.find_spec("safetensors"):
        return
    own = Path(os.environ.get("DVC_ROOT", "."), ".venv", "bin", "python3")
    if own.exists() and Path(sys.prefix) != own.parent.parent.resolve():
        os.execv(own, [str(own), *sys.orig_argv[1:]])  # noqa: S606 - no shell is wanted
    sys.exit(
        f"error: {sys.executable} lacks the project's requirements; run `make install`, then "
        "`source .venv/bin/activate`"
    )


_use_project_python()
