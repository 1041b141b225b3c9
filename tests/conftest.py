"""Sets the precision before any kernel loads, and skips GPU tests on machines without a GPU."""

import gc
import os

# Tests run in float64, which must be set before diffsim is imported; tests of float32 start other processes.
os.environ.setdefault("DIFFSIM_X64", "1")

import pytest
import torch

torch.set_num_threads(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if torch.cuda.is_available():
        return
    skip = pytest.mark.skip(reason="needs a CUDA device")
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(skip)


def pytest_collection_finish() -> None:
    """Exempts imported objects from garbage collection, which would take a tenth of the tests' time."""
    gc.freeze()
