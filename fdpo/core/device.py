"""Where and in what precision models run: the one place that decides."""

import contextlib
import os

import torch


def device() -> torch.device:
    """This process's own GPU where there are GPUs, by LOCAL_RANK; else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
    return torch.device("cpu")


def autocast() -> contextlib.AbstractContextManager:
    """bfloat16 matrix products on a GPU; float32 throughout on a CPU, where bfloat16 is slow."""
    if torch.cuda.is_available():
        return torch.autocast("cuda", dtype=torch.bfloat16)
    return contextlib.nullcontext()
