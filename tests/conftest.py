"""Sets the precision before any kernel loads, the order of the files, and skips GPU tests where there is no GPU."""

import gc
import os

# Tests run in float64, which must be set before diffsim is imported; tests of float32 start other processes.
os.environ.setdefault("DIFFSIM_X64", "1")

import pytest
import torch
import warp as wp

torch.set_num_threads(1)
if os.environ.get("DIFFSIM_KERNELS") == "float32":
    wp.config.optimization_level = 0  # these kernels are used in tests only, and compile in a third of the time

LONGEST = ("test_ranks.py", "test_doors.py", "test_pretend_cuda.py", "test_float32.py", "test_lanes.py")
LONGEST += ("test_benchmarks.py", "test_peers.py", "test_measurements.py", "test_contact_gradient.py")
"""Files that are tested first, so that no worker is still busy with one of them when the others have finished."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.name not in LONGEST)
    if torch.cuda.is_available():
        return
    skip = pytest.mark.skip(reason="needs a CUDA device")
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(skip)


def pytest_collection_finish() -> None:
    """Exempts imported objects from garbage collection, which would take a tenth of the tests' time."""
    gc.freeze()
