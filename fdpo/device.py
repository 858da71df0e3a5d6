"""Where and in what precision models run: the one place that decides."""

import contextlib

import torch


def device() -> torch.device:
    """A GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def autocast() -> contextlib.AbstractContextManager:
    """bfloat16 matrix products on a GPU; float32 throughout on a CPU, where bfloat16 is slow."""
    if torch.cuda.is_available():
        return torch.autocast("cuda", dtype=torch.bfloat16)
    return contextlib.nullcontext()
