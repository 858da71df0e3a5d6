"""What decides numbers is in the settings: variables of libraries reach no stage."""

import importlib
import os

import pytest

import stages

LAUNCHED = {
    "RANK": "0",
    "LOCAL_RANK": "0",
    "WORLD_SIZE": "2",
    "MASTER_ADDR": "127.0.0.1",
    "MASTER_PORT": "29500",
    "ACCELERATE_USE_FSDP": "true",
}


@pytest.mark.parametrize(
    "name",
    [
        *LAUNCHED,
        "ACCELERATE_MIXED_PRECISION",
        "PARALLELISM_CONFIG_TP_SIZE",
        "DVCLIVE_TEST",
        "NVIDIA_TF32_OVERRIDE",
        "ONEDNN_DEFAULT_FPMATH_MODE",
        "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE",
        "OMPI_COMM_WORLD_SIZE",
    ],
)
def test_a_variable_that_reaches_arithmetic_is_not_there(name, monkeypatch):
    monkeypatch.setenv(name, "4")
    importlib.reload(stages)
    assert name not in os.environ


def test_what_a_launcher_sets_is_kept(monkeypatch):
    for name, value in LAUNCHED.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    importlib.reload(stages)
    assert os.environ.items() >= LAUNCHED.items()
    assert "ACCELERATE_MIXED_PRECISION" not in os.environ
