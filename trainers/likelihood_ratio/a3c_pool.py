"""The learner processes of A3C: starts them, gives them work, and ends them."""

from __future__ import annotations

import contextlib
import time
import weakref
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any

from gymnasium.vector.utils import CloudpickleWrapper
from torch import multiprocessing

from diffsim.trainers.errors import WorkerError
from diffsim.trainers.likelihood_ratio.a3c_worker import Failure, Report, Shared, receive, send, serve

ITERATION_SECONDS = 3600.0
"""Time without any answer after which learners count as hanging."""
MAX_STARTS = 3
START_PAUSE = 1.0  # s


class LearnerPool:
    """Processes that learn on shared parameters.

    They ignore Ctrl-C. They end when `close` is called, when one of them fails, when this object is garbage-collected,
    and when this process ends for any reason.

    Args:
        shared: parameters and statistics, in shared memory.
        env_fns: for each process, functions that make its copies of the environment.
        options: for each process, the options of its `Learner`.
        states: for each process, the state of its learner to continue from; empty for a new start.
    """

    def __init__(
        self,
        shared: Shared,
        env_fns: Sequence[Sequence[Callable[[], Any]]],
        options: Sequence[dict[str, Any]],
        states: Sequence[dict[str, Any]],
    ) -> None:
        # A fork server has no threads and has done all imports: faster than a spawn, and safe, unlike a fork of this
        # process.
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([serve.__module__])
        self.connections: list[Connection] = []
        self.processes: list[Any] = []
        self.close = weakref.finalize(self, _end, self.processes, self.connections)
        for fns, learner_options in zip(env_fns, options, strict=True):
            here, there = context.Pipe()
            pickled = [CloudpickleWrapper(fn) for fn in fns]
            process = context.Process(target=serve, args=(there, shared, pickled, learner_options), daemon=True)
            _start(process)
            there.close()
            self.connections.append(here)
            self.processes.append(process)
        self._send(states or [None] * len(self.processes))

    def work(self, env_steps: int) -> list[Report]:
        """Runs one iteration in all processes, and waits for their reports.

        Args:
            env_steps: that all learners together have taken before.

        Raises: NonFiniteError, WorkerError for an environment that failed, or RuntimeError with a traceback, from the
            error of a process; WorkerError with the exit code of one that died, or if none answers for
            ITERATION_SECONDS. All processes have then ended.
        """
        try:
            self._send([env_steps] * len(self.connections))
            reports: dict[int, Report] = {}
            while len(reports) < len(self.connections):
                missing = [c for k, c in enumerate(self.connections) if k not in reports]
                answered = wait(missing, ITERATION_SECONDS)
                if not answered:
                    silent = ", ".join(str(k) for k in range(len(self.connections)) if k not in reports)
                    raise WorkerError(f"learner {silent} of A3C gave no answer for {ITERATION_SECONDS:g} seconds")
                for ready in answered:
                    number = next(k for k, c in enumerate(self.connections) if c is ready)
                    reports[number] = self._receive(number)
            return [reports[number] for number in sorted(reports)]
        except BaseException:
            self.close()
            raise

    def _send(self, messages: Sequence[Any]) -> None:
        for connection, message in zip(self.connections, messages, strict=True):
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # `_receive` raises the process's error
                send(connection, message)

    def _receive(self, number: int) -> Report:
        try:
            message = receive(self.connections[number])
        except (EOFError, ConnectionResetError):
            self.processes[number].join(5.0)
            code = self.processes[number].exitcode
            raise WorkerError(f"learner {number} of A3C died, with exit code {code}") from None
        if not isinstance(message, Failure):
            return message
        if message.error is not None:
            raise message.error(f"in learner {number} of A3C: {message.message}")
        raise RuntimeError(f"learner {number} of A3C failed: {message.message}\n\n{message.traceback}")


def _start(process: Any) -> None:
    """Starts a process. The fork server may die of an import or a fork that fails: it is then started again.

    Raises: WorkerError if it dies again and again.
    """
    for _ in range(MAX_STARTS):
        try:
            return process.start()
        except (EOFError, BrokenPipeError, ConnectionError):
            time.sleep(START_PAUSE)
    raise WorkerError(
        f"a learner of A3C must be started, but the fork server died {MAX_STARTS} times: "
        "it lacks memory, or may start no more processes"
    )


def _end(processes: list[Any], connections: list[Connection]) -> None:
    """Terminates the processes at once: they hold nothing that must be saved."""
    for connection in connections:
        connection.close()
    for process in processes:
        process.terminate()
    for process in processes:
        process.join()
