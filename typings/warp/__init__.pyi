"""Warp's decorators turn functions into kernels in ways its own types do not say: everything in it is Any."""

from typing import Any

def __getattr__(name: str) -> Any: ...
