"""Errors of environments and of their processes, as one message with the copy and the cause."""

from __future__ import annotations

import multiprocessing
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import gymnasium
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv, VectorEnv

from diffsim.trainers.errors import NonFiniteError, UsageError, WorkerError

ANSWER_SECONDS = 600.0
"""Time in which a process must answer one `step` or `reset` of its copy. After it, the process counts as hanging."""
EXIT_SECONDS = 5.0


@contextmanager
def env_faults(copies: Sequence[gymnasium.Env]) -> Iterator[None]:
    """Raises WorkerError with copy and cause for an error that comes from within one of the `copies`."""
    try:
        yield
    except (UsageError, NonFiniteError, WorkerError):
        raise
    except Exception as error:
        number = _copy_in_traceback(error, copies)
        if number is None:
            raise
        raise WorkerError(f"copy {number} of the environment failed: {_cause(error)}") from error


@contextmanager
def vector_env_faults(env: VectorEnv) -> Iterator[None]:
    """The same for a vector environment. Processes of an AsyncVectorEnv are ended, also those that hang."""
    inner = env.unwrapped
    if isinstance(inner, AsyncVectorEnv):
        with _process_faults(inner):
            yield
    elif isinstance(inner, SyncVectorEnv):
        with env_faults(inner.envs):
            yield
    else:
        yield


def reset_in_time(env: VectorEnv, seed: Any, options: Any) -> Any:
    """`env.reset`; an AsyncVectorEnv without wrappers around it must answer within ANSWER_SECONDS."""
    if not isinstance(env, AsyncVectorEnv):
        return env.reset(seed=seed, options=options)
    env.reset_async(seed=seed, options=options)
    return env.reset_wait(timeout=ANSWER_SECONDS)


def step_in_time(env: VectorEnv, actions: Any) -> Any:
    """`env.step`; an AsyncVectorEnv without wrappers around it must answer within ANSWER_SECONDS."""
    if not isinstance(env, AsyncVectorEnv):
        return env.step(actions)
    env.step_async(actions)
    return env.step_wait(timeout=ANSWER_SECONDS)


@contextmanager
def _process_faults(env: AsyncVectorEnv) -> Iterator[None]:
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


def _explained(env: AsyncVectorEnv, error: Exception) -> str:
    """The message for an error of an AsyncVectorEnv."""
    if isinstance(error, multiprocessing.TimeoutError):
        silent = [n for n, pipe in enumerate(env.parent_pipes) if pipe is not None and not pipe.poll()]
        return f"copy {_listed(silent)} of the environment gave no answer for {ANSWER_SECONDS:g} seconds"
    if isinstance(error, EOFError | ConnectionError):
        for process in env.processes:
            process.join(EXIT_SECONDS / len(env.processes))
        dead = {n: process.exitcode for n, process in enumerate(env.processes) if process.exitcode is not None}
        codes = _listed(sorted({str(code) for code in dead.values()}))
        return f"the process of copy {_listed(dead)} of the environment died, with exit code {codes}"
    failed = [n for n, pipe in enumerate(env.parent_pipes) if pipe is None]  # Gymnasium closed it
    return f"copy {_listed(failed)} of the environment failed: {_cause(error)}"


def _copy_in_traceback(error: Exception, copies: Sequence[gymnasium.Env]) -> int | None:
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
