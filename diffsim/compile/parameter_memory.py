"""The memory from which kernels read parameters, filled anew from a vector before every launch."""

from __future__ import annotations

import torch
import warp as wp
from torch import Tensor

from diffsim.compile.kernel_forms import KERNEL_FIELDS
from diffsim.compile.parameters import Parameters
from diffsim.types import kernel_dtype


class ParameterMemory:
    """Arrays of a model's parameters at fixed addresses, so that captured launches can read other values.

    Args:
        parameters: of the model.
        num_worlds: N for parameters per world; None for those that all worlds share.
        device: torch's name of the device.
    """

    def __init__(self, parameters: Parameters, num_worlds: int | None, device: str) -> None:
        self._counts, self._varied = parameters.counts, num_worlds is not None
        rows = num_worlds or 1
        first = parameters.size * torch.arange(rows, device=device)[:, None]
        self._flat = torch.zeros(rows * parameters.size, dtype=kernel_dtype, device=device)
        self._parts: dict[str, Tensor] = {}
        order, end = [], 0
        for name, (element, _, width) in KERNEL_FIELDS.items():
            size = self._counts[element] * width
            start, end = end, end + rows * size
            order.append((first + parameters.offsets[name] + torch.arange(size, device=device)).reshape(-1))
            self._parts[name] = self._flat[start:end].view(rows, size)
        self._order = torch.cat(order)

    def fields(self, first_world: int = 0) -> dict[str, wp.array | int]:
        """Fields of `ModelArrays` for the worlds from one on: arrays [N * count] or [count], and their strides."""
        fields: dict[str, wp.array | int] = {f"{name}_stride": n * self._varied for name, n in self._counts.items()}
        for name, part in self._parts.items():
            _, kind, width = KERNEL_FIELDS[name]
            inner = getattr(kind, "_shape_", ()) or ((width,) if width > 1 else ())
            rows = part[first_world:] if self._varied else part
            fields[name] = wp.from_torch(rows.view(-1, *inner), dtype=kind, requires_grad=False)
        return fields

    def load(self, vector: Tensor) -> None:
        """Takes the values of a vector [size], or [N, size] for parameters per world: see `Parameters.vector`."""
        torch.index_select(vector.detach().reshape(-1), 0, self._order, out=self._flat)
