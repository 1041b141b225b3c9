"""Physics is tested in float64; float32 has its own process, started by test_float32.py."""

import os
from collections.abc import Generator

import pytest

os.environ.setdefault("DIFFSIM_X64", "1")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Skips tests of models that cannot be simulated yet."""
    import diffsim

    try:
        return (yield)
    except diffsim.UnsupportedModelError as error:
        pytest.skip(str(error).splitlines()[0])
