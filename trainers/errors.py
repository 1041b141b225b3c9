"""Errors that the command line prints as one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class UsageError(ValueError):
    """An input cannot be used; the message says which one, and what would be valid."""


class OptionError(UsageError):
    """An option is misspelled, of the wrong type, or out of range."""


class CheckpointError(UsageError):
    """A file is not a usable checkpoint; the message names it and says why."""


class NonFiniteError(FloatingPointError):
    """A state, reward or gradient is infinite or not a number; the message says which, where and when."""


class WorkerError(RuntimeError):
    """An environment or a worker process failed; the message says which one, and why."""


class FailedRunsError(RuntimeError):
    """Some runs of a comparison failed; the message says how many."""


class StoppedError(Exception):
    """Ctrl-C or SIGTERM ended training early, with a checkpoint, and the user was told.

    Attributes:
        status: exit status of the command, 128 + the signal's number, as shells count.
    """

    def __init__(self, signal: int) -> None:
        super().__init__(f"stopped by signal {signal}")
        self.status = 128 + signal


@contextmanager
def option_errors() -> Iterator[None]:
    """Raises OptionError with the same message for an error that a wrong option can cause."""
    try:
        yield
    except UsageError:
        raise
    except (ValueError, TypeError, OSError, RuntimeError) as error:
        raise OptionError(str(error)) from error
