"""How runs are started on a Ray cluster."""

from __future__ import annotations

import importlib
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from diffsim.trainers.compare.comparison import Run
from diffsim.trainers.compare.launchers import GRACE, close_input, open_process
from diffsim.trainers.errors import UsageError

PAUSE = 0.5  # seconds


def run_process(words: Sequence[str], log: str, threads: int) -> int:
    """Runs `diffsim fit` on the machine that Ray has chosen. Returns its exit status.

    Ray interrupts this function to stop the run; if Ray's own process ends, so does the run.
    """
    process = open_process(words, Path(log), threads)
    try:
        while True:  # an interrupt by Ray comes between two lines of Python, not into a wait
            try:
                return process.wait(PAUSE)
            except subprocess.TimeoutExpired:
                pass
    except KeyboardInterrupt:
        process.send_signal(signal.SIGINT)
        try:
            return process.wait(GRACE)
        except subprocess.TimeoutExpired:
            raise KeyboardInterrupt from None  # and with the pipe, the run ends
    finally:
        close_input(process)


class RayHandle:
    """A run on a cluster.

    Args:
        ray: the library.
        reference: what Ray calls the run.
    """

    def __init__(self, ray: Any, reference: Any) -> None:
        self.ray, self.reference = ray, reference

    def poll(self) -> int | None:
        """Its exit status, or None while it goes on or waits for a machine."""
        ready, _ = self.ray.wait([self.reference], timeout=0)
        if not ready:
            return None
        try:
            return self.ray.get(self.reference)
        except (self.ray.exceptions.RayError, KeyboardInterrupt):  # cancelled, or its machine was lost
            return 1

    def interrupt(self) -> None:
        """Asks Ray to interrupt it. Ray does not wait: the run may go on later from an older checkpoint."""
        self.ray.cancel(self.reference)

    def kill(self) -> None:
        """Stops it at once."""
        self.ray.cancel(self.reference, force=True)


class RayLauncher:
    """Starts runs on the Ray cluster that is there, or on a local one of its own.

    Args:
        address: of the cluster; None for what Ray finds (RAY_ADDRESS, or a new local one).

    Raises: UsageError without the `ray` extra.
    """

    def __init__(self, address: str | None = None) -> None:
        try:
            self.ray: Any = importlib.import_module("ray")
        except ImportError as error:
            raise UsageError('--launcher ray needs the "ray" extra: pip install -e ".[ray]"') from error
        self.ours = not self.ray.is_initialized()
        if self.ours:
            self.ray.init(address=address, include_dashboard=False, log_to_driver=False)

    def start(self, run: Run, words: Sequence[str]) -> RayHandle:
        """Runs `diffsim fit` with `words`, for `run`; what it prints goes to the run's log."""
        threads = int(run.options.get("threads", 1))
        gpus = 1 if str(run.options.get("device", "cpu")).startswith("cuda") else 0
        task = self.ray.remote(num_cpus=threads, num_gpus=gpus, max_retries=0)(run_process)
        return RayHandle(self.ray, task.remote(list(words), str(run.log), threads))

    def close(self) -> None:
        """Leaves the cluster; one of our own ends."""
        if self.ours:
            self.ray.shutdown()
