"""How runs are started: as processes of this machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from diffsim.trainers.compare.comparison import Run

GRACE = 30.0
"""Seconds that a run has, once interrupted, to end the iteration under way and to leave a checkpoint."""


class Handle(Protocol):
    """A run that was started."""

    def poll(self) -> int | None:
        """Its exit status, or None while it goes on."""
        ...

    def interrupt(self) -> None:
        """Asks it to stop after the iteration under way, with a checkpoint."""
        ...

    def kill(self) -> None:
        """Stops it, and all that it started, at once."""
        ...


class Launcher(Protocol):
    """Whoever starts runs."""

    def start(self, run: Run, words: Sequence[str]) -> Handle:
        """Runs `diffsim fit` with `words`, for `run`; what it prints goes to the run's log."""
        ...

    def close(self) -> None:
        """Lets go of what starting takes."""
        ...


def open_process(words: Sequence[str], log: Path, threads: int) -> subprocess.Popen[bytes]:
    """`diffsim fit` in a process group of its own, out of reach of the terminal's Ctrl-C."""
    environment = {"OMP_NUM_THREADS": str(threads), **os.environ}
    with log.open("ab") as file:
        return subprocess.Popen(
            [sys.executable, "-m", "diffsim.trainers.compare.child", *words],
            stdin=subprocess.PIPE,
            stdout=file,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )


def close_input(process: subprocess.Popen[bytes]) -> None:
    """Lets go of the pipe that tells a run that it is wanted: whatever is left of it ends."""
    assert process.stdin is not None
    process.stdin.close()


class LocalHandle:
    """A process of this machine.

    Args:
        process: the head of its group.
    """

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process

    def poll(self) -> int | None:
        """Its exit status, or None while it goes on."""
        status = self.process.poll()
        if status is not None:
            close_input(self.process)
        return status

    def interrupt(self) -> None:
        """Asks it to stop after the iteration under way, with a checkpoint."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)

    def kill(self) -> None:
        """Stops it, and all that it started, at once."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        close_input(self.process)


class LocalLauncher:
    """Starts runs as processes of this machine."""

    def start(self, run: Run, words: Sequence[str]) -> LocalHandle:
        """Runs `diffsim fit` with `words`, for `run`; what it prints goes to the run's log."""
        return LocalHandle(open_process(words, run.log, int(run.options.get("threads", 1))))

    def close(self) -> None:
        """Nothing is held."""
