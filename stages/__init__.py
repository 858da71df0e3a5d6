"""The stages of dvc.yaml, a script each: read inputs, call the library, write outputs."""

import importlib.util
import os
import sys
import warnings
from pathlib import Path

_RESTARTED = "FDPO_RESTARTED"  # set in the environment of a script that was started once more


def _use_project_python() -> None:
    """Run under the project's .venv when called with a Python that lacks the requirements.

    DVC runs a stage with the `python3` of its caller's PATH, which without an activated
    environment is the system's. It is tried once: an incomplete .venv would be called for ever.
    """
    if all(map(importlib.util.find_spec, ("pydantic", "torch", "dvclive"))):
        os.environ.pop(_RESTARTED, None)
        return
    environment = Path(os.environ.get("DVC_ROOT", "."), ".venv")
    python = environment / "bin" / "python3"
    is_this_one = Path(sys.prefix).resolve() == environment.resolve()
    if python.exists() and not is_this_one and _RESTARTED not in os.environ:
        os.environ[_RESTARTED] = "1"
        os.execv(python, [str(python), *sys.orig_argv[1:]])  # noqa: S606 - no shell is wanted
    problem = f"{sys.executable} lacks the project's requirements"
    todo = "run `make install`, then `source .venv/bin/activate`"
    if is_this_one or _RESTARTED in os.environ:
        problem, todo = (
            f"{environment} is incomplete",
            "run `touch requirements.txt && make install`",
        )
    print(f"error: {problem}; {todo}", file=sys.stderr)
    sys.exit(2)


_use_project_python()
# Threads that wait for work by spinning take the cores from others: on a shared machine a stage
# took several times as long; on a quiet one sleeping costs nothing that can be measured.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
# Libraries' notes to each other and bars for work of a second; the stages report what takes long.
warnings.filterwarnings("ignore", category=FutureWarning)
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
if not sys.stderr.isatty():
    os.environ.setdefault("TQDM_DISABLE", "1")  # libraries' bars; read when tqdm is imported
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")  # TRL would report every run
