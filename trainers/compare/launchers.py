"""Launchers: start runs as processes of this machine."""

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
"""Seconds that an interrupted run has to finish its iteration and write a checkpoint."""


class Handle(Protocol):
    """A started run."""

    def poll(self) -> int | None:
        """Returns its exit status, or None while it runs."""
        ...

    def interrupt(self) -> None:
        """Asks it to stop after its current iteration, with a checkpoint."""
        ...

    def kill(self) -> None:
        """Kills it and its children."""
        ...


class Launcher(Protocol):
    """Starts runs."""

    def start(self, run: Run, arguments: Sequence[str]) -> Handle:
        """Starts `diffsim fit` with `arguments`, for `run`; its output goes to the run's log."""
        ...

    def close(self) -> None:
        """Releases the resources of the launcher."""
        ...


def open_process(arguments: Sequence[str], log: Path, threads: int, folder: Path) -> subprocess.Popen[bytes]:
    """Starts `diffsim fit` in its own process group, which the terminal's Ctrl-C does not reach.

    Args:
        arguments: of the command.
        log: file that its output is appended to.
        threads: CPU threads of numerical libraries, unless OMP_NUM_THREADS is set.
        folder: working directory, whose modules it can import.
    """
    environment = {"OMP_NUM_THREADS": str(threads), **os.environ}
    with log.open("ab") as file:
        return subprocess.Popen(
            [sys.executable, "-m", "diffsim.trainers.compare.child", *arguments],
            stdin=subprocess.PIPE,
            stdout=file,
            stderr=subprocess.STDOUT,
            env=environment,
            cwd=folder,
            start_new_session=True,
        )


def close_input(process: subprocess.Popen[bytes]) -> None:
    """Closes the pipe that keeps the child alive; processes of the run that are left then end."""
    assert process.stdin is not None
    process.stdin.close()


class LocalHandle:
    """A process of this machine, which leads its process group."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process

    def poll(self) -> int | None:
        """Returns its exit status, or None while it runs."""
        status = self.process.poll()
        if status is not None:
            close_input(self.process)
        return status

    def interrupt(self) -> None:
        """Asks it to stop after its current iteration, with a checkpoint."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)

    def kill(self) -> None:
        """Kills it and its children."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        close_input(self.process)


class LocalLauncher:
    """Starts runs as processes of this machine."""

    def start(self, run: Run, arguments: Sequence[str]) -> LocalHandle:
        """Starts `diffsim fit` with `arguments`, for `run`; its output goes to the run's log."""
        return LocalHandle(open_process(arguments, run.log, int(run.options.get("threads", 1)), Path.cwd()))

    def close(self) -> None:
        """Has no resources to release."""
