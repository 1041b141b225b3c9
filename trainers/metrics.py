"""What an iteration logs, and checks that a GPU need not be asked for at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import NamedTuple

import torch
from torch import Tensor

from diffsim.engine.checks import DeferredChecks


class Selected(NamedTuple):
    """Numbers of which some count. It is logged as their mean, and not at all if there are none.

    Attributes:
        value: of any shape.
        chosen: bool, of this shape.
    """

    value: Tensor
    chosen: Tensor


Metric = Tensor | Selected | float
_LATE: ContextVar[DeferredChecks | None] = ContextVar("diffsim_late_checks", default=None)


def measured(iterate: Callable[[], Mapping[str, Metric]], device: torch.device) -> dict[str, float]:
    """Runs an iteration and returns its metrics as numbers. Reads a GPU once, with the checks of `check_late`."""
    late = DeferredChecks()
    token = _LATE.set(None if device.type == "cpu" else late)
    try:
        metrics = iterate()
    finally:
        _LATE.reset(token)
    parts = {name: value if isinstance(value, Selected) else (value,) for name, value in metrics.items()}
    readings = {name: [late.read(part) for part in value if isinstance(part, Tensor)] for name, value in parts.items()}
    late.finish()
    numbers: dict[str, float] = {}
    for name, value in metrics.items():
        if isinstance(value, Selected):
            of_value, of_chosen = (torch.as_tensor(reading.array) for reading in readings[name])
            if of_chosen.any():
                numbers[name] = float(of_value.to(value.value.dtype)[of_chosen > 0].mean())
        else:
            numbers[name] = readings[name][0].array.item() if isinstance(value, Tensor) else float(value)
    return numbers


def check_late(failed: Tensor, explain: Callable[[], object]) -> None:
    """Calls `explain`, which raises, if `failed`, a bool on any device, is true.

    Within an iteration on a GPU this is read at its end, with the metrics.
    """
    late = _LATE.get()
    if late is not None:
        late.add(failed, explain)
    elif failed:
        explain()
