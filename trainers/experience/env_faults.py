"""Errors of environments and of their processes, as one message with the copy and the cause."""

from __future__ import annotations

import multiprocessing
import signal
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from types import FrameType
from typing import Any

import gymnasium
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv, VectorEnv

from diffsim.trainers.errors import NonFiniteError, UsageError, WorkerError

ANSWER_SECONDS = 600.0
"""Default time in which all copies must answer one `step` or `reset`. After it, the environment counts as hanging."""
EXIT_SECONDS = 5.0
_timeout: ContextVar[float] = ContextVar("env_timeout", default=ANSWER_SECONDS)


class LateError(BaseException):
    """An environment gave no answer in time. No Exception, so that code of the environment does not catch it."""


@contextmanager
def answer_within(seconds: float) -> Iterator[None]:
    """Gives environments of this thread another time to answer than ANSWER_SECONDS, in s."""
    token = _timeout.set(seconds)
    try:
        yield
    finally:
        _timeout.reset(token)


@contextmanager
def in_time() -> Iterator[None]:
    """Raises LateError if the block takes longer than `answer_within` allows.

    It uses the alarm signal: it interrupts Python code and waiting for processes, but no computation in C. Outside the
    main thread, and where the program has its own handler of the signal, there is no time-out.
    """
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGALRM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGALRM, _late)
    signal.setitimer(signal.ITIMER_REAL, _timeout.get())
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)


def _late(number: int, frame: FrameType | None) -> None:
    raise LateError


@contextmanager
def env_faults(copies: Sequence[gymnasium.Env]) -> Iterator[None]:
    """Raises WorkerError with copy and cause for an error that comes from within one of the `copies`."""
    try:
        yield
    except (UsageError, NonFiniteError, WorkerError):
        raise
    except LateError as error:
        number = _copy_in_traceback(error, copies)
        raise WorkerError(_silent("" if number is None else str(number))) from error
    except Exception as error:
        number = _copy_in_traceback(error, copies)
        if number is None:
            raise
        raise WorkerError(f"copy {number} of the environment failed: {_cause(error)}") from error


@contextmanager
def vector_env_faults(env: VectorEnv) -> Iterator[None]:
    """The same for a vector environment, whose copies must answer within the time-out; also inside of wrappers.

    Processes of an AsyncVectorEnv are ended, also those that hang. A vector environment of another class has no
    time-out.
    """
    inner = env.unwrapped
    if isinstance(inner, AsyncVectorEnv):
        with _process_faults(inner):
            yield
    elif isinstance(inner, SyncVectorEnv):
        with env_faults(inner.envs), in_time():
            yield
    else:
        yield


@contextmanager
def _process_faults(env: AsyncVectorEnv) -> Iterator[None]:
    seconds = _timeout.get()
    vars(env).update(  # what `step` and `reset` call, without a time-out of their own
        step_wait=partial(type(env).step_wait, env, timeout=seconds),
        reset_wait=partial(type(env).reset_wait, env, timeout=seconds),
    )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Gymnasium prints each traceback as a warning, before it raises the error
            yield
    except (UsageError, NonFiniteError, WorkerError):
        raise
    except Exception as error:
        message = _explained(env, error)
        for process in env.processes:
            process.kill()
            process.join()
        env.closed = True  # its destructor would talk to the processes
        raise WorkerError(message) from error
    finally:
        del vars(env)["step_wait"], vars(env)["reset_wait"]


def _explained(env: AsyncVectorEnv, error: Exception) -> str:
    """The message for an error of an AsyncVectorEnv."""
    if isinstance(error, multiprocessing.TimeoutError):
        silent = [n for n, pipe in enumerate(env.parent_pipes) if pipe is not None and not pipe.poll()]
        return _silent(_listed(silent))
    if isinstance(error, EOFError | ConnectionError):
        for process in env.processes:
            process.join(EXIT_SECONDS / len(env.processes))
        dead = {n: process.exitcode for n, process in enumerate(env.processes) if process.exitcode is not None}
        codes = _listed(sorted({str(code) for code in dead.values()}))
        return f"the process of copy {_listed(dead)} of the environment died, with exit code {codes}"
    failed = [n for n, pipe in enumerate(env.parent_pipes) if pipe is None]  # Gymnasium closed it
    return f"copy {_listed(failed)} of the environment failed: {_cause(error)}"


def _silent(copies: str) -> str:
    """The message for copies, listed, that gave no answer; empty if they are unknown."""
    copy = f"copy {copies} of the environment" if copies else "the environment"
    return f"{copy} gave no answer for {_timeout.get():g} seconds (env_timeout)"


def _copy_in_traceback(error: Exception | LateError, copies: Sequence[gymnasium.Env]) -> int | None:
    """Index of the first of `copies` in whose methods the error was raised; None if it was raised elsewhere."""
    numbers = {id(copy): n for n, copy in enumerate(copies)}
    step = error.__traceback__
    while step is not None:
        number = numbers.get(id(step.tb_frame.f_locals.get("self")))
        if number is not None:
            return number
        step = step.tb_next
    return None


def _cause(error: Exception) -> str:
    """Type and message of an error, in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split()).removesuffix(":")


def _listed(values: Any) -> str:
    return ", ".join(map(str, values))
