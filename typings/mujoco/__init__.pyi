"""MuJoCo 4.0's wheels ship no types for their compiled modules: everything in it is Any."""

from typing import Any

def __getattr__(name: str) -> Any: ...
