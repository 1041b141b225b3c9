"""The learner processes of A3C: starts them, gives them work, and ends them."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any

from gymnasium.vector.utils import CloudpickleWrapper
from torch import multiprocessing

from diffsim.trainers.errors import NonFiniteError
from diffsim.trainers.likelihood_ratio.a3c_worker import Failure, Report, Shared, receive, send, serve


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
            process.start()
            there.close()
            self.connections.append(here)
            self.processes.append(process)
        self._send(states or [None] * len(self.processes))

    def work(self, env_steps: int) -> list[Report]:
        """Runs one iteration in all processes, and waits for their reports.

        Args:
            env_steps: that all learners together have taken before.

        Raises: NonFiniteError or RuntimeError, with the message and traceback of a process that failed, or the exit
            code of one that died. All processes have then ended.
        """
        try:
            self._send([env_steps] * len(self.connections))
            reports: dict[int, Report] = {}
            while len(reports) < len(self.connections):
                missing = [c for k, c in enumerate(self.connections) if k not in reports]
                for ready in wait(missing):
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
            raise RuntimeError(f"learner {number} of A3C died, with exit code {code}") from None
        if not isinstance(message, Failure):
            return message
        if message.nonfinite:
            raise NonFiniteError(f"in learner {number} of A3C: {message.message}")
        raise RuntimeError(f"learner {number} of A3C failed: {message.message}\n\n{message.traceback}")


def _end(processes: list[Any], connections: list[Connection]) -> None:
    """Terminates the processes at once: they hold nothing that must be saved."""
    for connection in connections:
        connection.close()
    for process in processes:
        process.terminate()
    for process in processes:
        process.join()
