"""The processes of A3C, from their start to their end."""

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


class Crew:
    """Processes that learn on shared parameters, as long as this object lives.

    They ignore Ctrl-C, end when told to, when one of them fails, when this object is forgotten, and when this process
    ends, in whatever way.

    Args:
        shared: parameters and statistics, in shared memory.
        env_fns: for each process, functions that make its copies of the environment.
        options: for each process, of its `Learner`.
        states: for each process, where it goes on; empty for a new start.
    """

    def __init__(
        self,
        shared: Shared,
        env_fns: Sequence[Sequence[Callable[[], Any]]],
        options: Sequence[dict[str, Any]],
        states: Sequence[dict[str, Any]],
    ) -> None:
        # From a server that has no threads and has done all imports: quick, and safe unlike a fork of this process.
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([serve.__module__])
        self.connections: list[Connection] = []
        self.processes: list[Any] = []
        self.close = weakref.finalize(self, _end, self.processes, self.connections)
        for fns, choices in zip(env_fns, options, strict=True):
            here, there = context.Pipe()
            pickled = [CloudpickleWrapper(fn) for fn in fns]
            process = context.Process(target=serve, args=(there, shared, pickled, choices), daemon=True)
            process.start()
            there.close()
            self.connections.append(here)
            self.processes.append(process)
        self._tell(states or [None] * len(self.processes))

    def work(self, env_steps: int) -> list[Report]:
        """Lets all processes do their part of an iteration, and waits for them.

        Args:
            env_steps: taken before, by all.

        Raises: NonFiniteError or RuntimeError, with the message and traceback of a process that failed, or the exit
            code of one that died; all the others have then ended.
        """
        try:
            self._tell([env_steps] * len(self.connections))
            reports: dict[int, Report] = {}
            while len(reports) < len(self.connections):
                missing = [c for k, c in enumerate(self.connections) if k not in reports]
                for ready in wait(missing):
                    number = next(k for k, c in enumerate(self.connections) if c is ready)
                    reports[number] = self._hear(number)
            return [reports[number] for number in sorted(reports)]
        except BaseException:
            self.close()
            raise

    def _tell(self, messages: Sequence[Any]) -> None:
        for connection, message in zip(self.connections, messages, strict=True):
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # why it died will be heard
                send(connection, message)

    def _hear(self, number: int) -> Report:
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
    """Ends the processes, whatever they do: they have nothing to put in order."""
    for connection in connections:
        connection.close()
    for process in processes:
        process.terminate()
    for process in processes:
        process.join()
