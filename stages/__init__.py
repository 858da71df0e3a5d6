"""The stages of dvc.yaml, a script each: read inputs, call the library, write outputs."""

import os
import sys
import warnings

# Variables of libraries that would change arithmetic behind the params: precision, parallelism and
# test modes. What decides a number is in params.yaml and the study's file alone.
_REACH_ARITHMETIC = (
    "ACCELERATE_",
    "DVCLIVE_",
    "NVIDIA_TF32_OVERRIDE",
    "ONEDNN_DEFAULT_FPMATH_MODE",
    "PARALLELISM_CONFIG_",
    "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE",
)
# A launcher sets all of the first; left over from another program they start no process group, nor
# do those that Accelerate reads in their place, MPI's.
_LAUNCHER = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
_MPI = ("PMI_", "MPI_LOCAL", "OMPI_COMM_WORLD_", "MV2_COMM_WORLD_")
_launched = all(name in os.environ for name in _LAUNCHER)

for _name in list(os.environ):
    if _launched and (_name in _LAUNCHER or _name == "ACCELERATE_USE_FSDP"):
        continue
    if _name in _LAUNCHER or _name.startswith(_REACH_ARITHMETIC + _MPI):
        del os.environ[_name]
# Threads that wait for work by spinning take the cores from others: on a shared machine a stage
# took several times as long; on a quiet one sleeping costs nothing that can be measured.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
# Libraries' notes to each other and bars for work of a second; the stages report what takes long.
warnings.filterwarnings("ignore", category=FutureWarning)
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
if not sys.stderr.isatty():
    os.environ.setdefault("TQDM_DISABLE", "1")  # libraries' bars; read when tqdm is imported
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")  # TRL would report every run
