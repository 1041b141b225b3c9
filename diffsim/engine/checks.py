"""Checks of the simulator's arguments and results: after each call, or once for all calls of a block.

A check reads a number from the device, and so waits for all work that the device was given. `deferred_checks` keeps
the reports of a block of calls on the device, and reads them once, at its end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor


class ContactOverflowError(RuntimeError):
    """There were more contacts than `max_contacts`."""

    def __init__(self, needed: int, limit: int) -> None:
        super().__init__(
            f"a world had {needed} contacts, but max_contacts is {limit}: pass max_contacts={needed} or more to Model"
        )


class NonFiniteArgumentError(ValueError):
    """An argument of the simulator is not finite."""


class _Pending(NamedTuple):
    """A check whose result is still on the device."""

    failed: Tensor  # bool []
    explain: Callable[[], object]
    place: object
    suffix: str


class Reading:
    """A tensor on the device that is read with the checks of a block.

    Attributes:
        array: once read, its numbers in float64, in its shape; bools are 0 and 1.
    """

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor
        self.array = np.empty(0)


class DeferredChecks:
    """Checks of a block of calls, and numbers to read with them.

    Attributes:
        place: what the user of the block counts, such as the time step of a window.
        failed_at: its value at the check that failed; None as long as none has.
    """

    def __init__(self) -> None:
        self.place: object = None
        self.failed_at: object = None
        self._pending: list[_Pending] = []
        self._readings: list[Reading] = []

    def add(self, failed: Tensor, explain: Callable[[], object]) -> None:
        """Adds a check that failed if `failed`, a bool on any device, is true; `explain` then raises its error."""
        self._pending.append(_Pending(failed, explain, self.place, _SUFFIX.get()))

    def read(self, tensor: Tensor) -> Reading:
        """The numbers of a tensor, which `finish` reads."""
        self._readings.append(Reading(tensor))
        return self._readings[-1]

    def any_failed(self) -> Tensor:
        """Whether a check failed, as a bool on the device. It forgets the checks."""
        pending, self._pending = self._pending, []
        return torch.stack([check.failed for check in pending]).any()

    def finish(self) -> None:
        """Reads everything, with one wait per device. The first check that failed raises its error."""
        pending, readings = self._pending, self._readings
        self._pending, self._readings = [], []
        values = read_numbers([*(check.failed for check in pending), *(reading.tensor for reading in readings)])
        for check, failed in zip(pending, values, strict=False):
            if failed:
                self._raise(check)
        for reading, array in zip(readings, values[len(pending) :], strict=True):
            reading.array = array

    def _raise(self, check: _Pending) -> None:
        """Raises the error of a check."""
        self.failed_at = check.place
        with _set(_ACTIVE, None), error_suffix(check.suffix):
            check.explain()
        raise AssertionError("a check failed, but its repetition did not")

    @contextmanager
    def resumed(self) -> Iterator[None]:
        """Adds the checks of a block in any thread to these. They are not read at its end."""
        with _set(_ACTIVE, self):
            yield


def read_numbers(tensors: Sequence[Tensor]) -> list[np.ndarray]:
    """The numbers of each tensor in float64, with one wait per device."""
    found: list[np.ndarray] = [np.empty(0)] * len(tensors)
    for device in {tensor.device for tensor in tensors}:
        own = [i for i, tensor in enumerate(tensors) if tensor.device == device]
        flat = torch.cat([tensors[i].detach().reshape(-1).double() for i in own]).cpu().numpy()
        ends = np.cumsum([tensors[i].numel() for i in own])
        for i, part in zip(own, np.split(flat, ends[:-1]), strict=True):
            found[i] = part.reshape(tensors[i].shape)
    return found


_ACTIVE: ContextVar[DeferredChecks | None] = ContextVar("diffsim_deferred_checks", default=None)
_SUFFIX: ContextVar[str] = ContextVar("diffsim_error_suffix", default="")


@contextmanager
def _set(variable: ContextVar, value: object) -> Iterator[None]:
    """Gives a context variable a value in a block."""
    token = variable.set(value)
    try:
        yield
    finally:
        variable.reset(token)


def active_checks() -> DeferredChecks | None:
    """The checks of the innermost block of `deferred_checks`; None outside."""
    return _ACTIVE.get()


def current_suffix() -> str:
    """The words of `error_suffix`."""
    return _SUFFIX.get()


@contextmanager
def deferred_checks(checks: DeferredChecks | None = None) -> Iterator[DeferredChecks]:
    """Defers the checks of all calls of a simulator in this block, and of blocks within it, to the block's end.

        with deferred_checks() as checks:
            for checks.place in range(horizon):
                state = simulator.step(state, ctrl)

    If a world has a fault, the results of its call are NaN. The end of the block raises the error of the first such
    call, as the call would have done outside of a block; an exception that leaves the block comes from later calls,
    and this error replaces it. To find the words, the call is repeated: its arguments must not be changed in place.

    Args:
        checks: what the outermost block uses; new ones if None.
    """
    outer = _ACTIVE.get()
    if outer is not None:
        yield outer
        return
    checks = DeferredChecks() if checks is None else checks
    with _set(_ACTIVE, checks):
        try:
            yield checks
        except Exception:
            checks.finish()
            raise
    checks.finish()


@contextmanager
def error_suffix(suffix: str) -> Iterator[None]:
    """Adds words to the messages of all checks of a block, also of those that are read after it."""
    with _set(_SUFFIX, suffix):
        yield


def check_finite(name: str, value: Tensor, deferrable: bool = False) -> None:
    """Raises NonFiniteArgumentError if an entry of `value` [N, size] is not finite.

    Args:
        name: of the argument.
        value: of the argument.
        deferrable: whether `deferred_checks` may defer it, because the call accepts such numbers.
    """
    value = value.detach()
    deferred = _ACTIVE.get()
    if deferrable and deferred is not None:
        deferred.add(~value.isfinite().all(), lambda: check_finite(name, value))
        return
    faults = torch.nonzero(~torch.isfinite(value))
    if len(faults):
        world, index = faults[0].tolist()
        number = value[world, index].item()
        raise NonFiniteArgumentError(
            f"{name} must be finite, got {number} at world {world}, index {index}{_SUFFIX.get()}"
        )
