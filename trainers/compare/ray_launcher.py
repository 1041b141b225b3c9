"""A launcher that starts runs on a Ray cluster."""

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


def run_process(arguments: Sequence[str], log: str, threads: int, folder: str) -> int:
    """Runs `diffsim fit` on the machine that Ray has chosen, in the working directory `folder`.

    Ray interrupts this function to stop the run. If Ray's process ends, the run ends too.

    Returns: its exit status.
    """
    process = open_process(arguments, Path(log), threads, Path(folder))
    try:
        while True:  # Ray can interrupt only between two lines of Python, not in a long wait
            try:
                return process.wait(PAUSE)
            except subprocess.TimeoutExpired:
                pass
    except KeyboardInterrupt:
        process.send_signal(signal.SIGINT)
        try:
            return process.wait(GRACE)
        except subprocess.TimeoutExpired:
            raise KeyboardInterrupt from None  # closing the pipe ends the run
    finally:
        close_input(process)


class RayHandle:
    """A run on a cluster; `reference` is Ray's object reference of it."""

    def __init__(self, ray: Any, reference: Any) -> None:
        self.ray, self.reference = ray, reference

    def poll(self) -> int | None:
        """Returns its exit status, or None while it runs or waits for a machine."""
        ready, _ = self.ray.wait([self.reference], timeout=0)
        if not ready:
            return None
        try:
            return self.ray.get(self.reference)
        except (self.ray.exceptions.RayError, KeyboardInterrupt):  # cancelled, or the machine failed
            return 1

    def interrupt(self) -> None:
        """Asks Ray to interrupt it. Ray does not wait for the run, which may then continue from an older checkpoint."""
        self.ray.cancel(self.reference)

    def kill(self) -> None:
        """Kills it."""
        self.ray.cancel(self.reference, force=True)


class RayLauncher:
    """Starts runs on an existing Ray cluster, or on a new local one.

    Args:
        address: of the cluster; None for RAY_ADDRESS, or a new local cluster.

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

    def start(self, run: Run, arguments: Sequence[str]) -> RayHandle:
        """Starts `diffsim fit` with `arguments`, for `run`; its output goes to the run's log."""
        threads = int(run.options.get("threads", 1))
        gpus = 1 if str(run.options.get("device", "cpu")).startswith("cuda") else 0
        task = self.ray.remote(num_cpus=threads, num_gpus=gpus, max_retries=0)(run_process)
        return RayHandle(self.ray, task.remote(list(arguments), str(run.log), threads, str(Path.cwd())))

    def close(self) -> None:
        """Disconnects from the cluster; a local one that was started here is shut down."""
        if self.ours:
            self.ray.shutdown()
