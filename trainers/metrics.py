"""What an iteration logs, and checks that a GPU need not be asked for at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import NamedTuple

import torch
from torch import Tensor

from diffsim.engine.checks import DeferredChecks, NonFiniteArgumentError
from diffsim.trainers.errors import NonFiniteError


class Selected(NamedTuple):
    """Numbers of which some count. It is logged as their mean, and not at all if there are none.

    Attributes:
        value: of any shape.
        chosen: bool, of this shape.
    """

    value: Tensor
    chosen: Tensor


Metric = Tensor | Selected | float


def ended_episodes(total: Tensor, ended: Tensor) -> dict[str, Metric]:
    """Mean return of the episodes that ended, if any did, and their number.

    Args:
        total: [...], sum of rewards of the present episode.
        ended: bool [...], whether it ended.
    """
    return {"return": Selected(total, ended), "episodes": ended.to(total.dtype).sum()}


_LATE: ContextVar[DeferredChecks | None] = ContextVar("diffsim_late_checks", default=None)


def measured(iterate: Callable[[], Mapping[str, Metric]], device: torch.device) -> dict[str, float]:
    """Runs an iteration and returns its metrics as numbers. Reads a GPU once, with the late checks."""
    late = DeferredChecks()
    token = _LATE.set(None if device.type == "cpu" else late)
    try:
        metrics = iterate()
    except Exception:
        with time_of_failure(late):
            late.finish()  # a check that failed before may have caused the error
        raise
    finally:
        _LATE.reset(token)
    parts = {name: value if isinstance(value, Selected) else (value,) for name, value in metrics.items()}
    readings = {name: [late.read(part) for part in value if isinstance(part, Tensor)] for name, value in parts.items()}
    with time_of_failure(late):
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


@contextmanager
def time_of_failure(checks: DeferredChecks) -> Iterator[None]:
    """Names the time step of a window, the `place` of `checks`, in the error of a number that is not finite."""
    try:
        yield
    except (FloatingPointError, NonFiniteArgumentError) as error:
        if isinstance(error, NonFiniteError) or checks.failed_at is None:
            raise
        raise NonFiniteError(f"at time step {checks.failed_at} of the window, {error}") from error


def late_checks() -> AbstractContextManager[None]:
    """Within an iteration on a GPU, adds the simulator's checks of a block to those that are read at its end.

    What a block returns after a check that failed is NaN: do not decide by it what to do next.
    """
    late = _LATE.get()
    return nullcontext() if late is None else late.resumed()


def check_late(failed: Tensor, explain: Callable[[], object]) -> None:
    """Calls `explain`, which raises, if `failed`, a bool on any device, is true.

    Within an iteration on a GPU this is read at its end, with the metrics.
    """
    late = _LATE.get()
    if late is not None:
        late.add(failed, explain)
    elif failed:
        explain()
