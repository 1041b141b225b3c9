"""Buffers that stay on the CPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from torch import nn


class HostBuffers(nn.Module):
    """Keeps some of a module's buffers on the CPU, wherever the module moves: numbers that are computed there.

    Attributes:
        host_buffers: names of these buffers.
    """

    host_buffers: ClassVar[tuple[str, ...]] = ()

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> Any:
        """Changes everything but these buffers, as `to` does."""
        every = self._buffers
        self._buffers = {name: value for name, value in every.items() if name not in self.host_buffers}
        super()._apply(fn, recurse)
        every.update(self._buffers)
        self._buffers = every
        return self
