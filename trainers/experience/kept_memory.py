"""Measures the memory that a computation leaves behind, such as the graph of a window."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

R = TypeVar("R")


def kept_bytes(compute: Callable[[], R]) -> tuple[R, int]:
    """Result of `compute`, and bytes of the tensors that it made and that its result and graph keep.

    For a window: `kept_bytes(lambda: rollout(mdp, policy, scenarios, remat=True))`. Buffers that a first call allocates
    once, such as those of the simulator, count too: call it before. The bytes are proportional to the number of worlds
    and of steps, so that a small window tells those of a large one.
    """
    with _Made() as made:
        result = compute()
    return result, made.alive()


class _Made(TorchDispatchMode):
    """Keeps weak references to the memory of all tensors that are made."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: dict[int, tuple[StorageWeakRef, int]] = {}
        self.given: set[int] = set()

    def __torch_dispatch__(self, function: Any, types: Any, args: tuple = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        for value in pytree.tree_leaves((args, kwargs)):
            if isinstance(value, torch.Tensor) and StorageWeakRef(value.untyped_storage()).cdata not in self.sizes:
                self.given.add(value.untyped_storage()._cdata)
        for value in pytree.tree_leaves(result):
            if isinstance(value, torch.Tensor) and value.untyped_storage()._cdata not in self.given:
                reference = StorageWeakRef(value.untyped_storage())
                self.sizes[reference.cdata] = reference, value.untyped_storage().nbytes()
        return result

    def alive(self) -> int:
        """Bytes of the memory that is still used."""
        return sum(size for reference, size in self.sizes.values() if not reference.expired())
