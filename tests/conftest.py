"""Settings that must be made before any kernel loads, and the skip of GPU tests where there is no GPU."""

import gc
import os

# Everything is tested in float64, chosen before anything imports diffsim; float32 has processes of its own.
os.environ.setdefault("DIFFSIM_X64", "1")

import pytest
import torch

torch.set_num_threads(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if torch.cuda.is_available():
        return
    skip = pytest.mark.skip(reason="needs a CUDA device")
    for item in items:
        if "gpu" in item.keywords:
            item.add_marker(skip)


def pytest_collection_finish() -> None:
    """What was imported stays: to look through it for garbage takes a tenth of the tests' time."""
    gc.freeze()
