"""Runs functions of `cases.py` on the pretended device, one per line of its input; answers each with a line of JSON.

The device changes torch for a whole process, so that tests run it in one of its own: see `Worker`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import traceback
from typing import Any

from tests.pretend_cuda.libraries import UnavailableError, load
from tests.pretend_cuda.waits import ROOT


class Worker:
    """A process with the pretended device.

    Raises: UnavailableError, with the reason, if it cannot be made here.
    """

    def __init__(self) -> None:
        command = [sys.executable, "-W", "ignore", "-m", "tests.pretend_cuda.worker"]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([ROOT, os.environ.get("PYTHONPATH", "")])}
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        reason = self._answer()
        if reason is not None:
            raise UnavailableError(reason)

    def __call__(self, function: str, *arguments: Any) -> Any:
        """Result of a function in `cases.py`, with the arguments as JSON.

        Raises: RuntimeError with its traceback, if it raised.
        """
        assert self.process.stdin is not None
        print(json.dumps([function, *arguments]), file=self.process.stdin, flush=True)
        result, error = self._answer()
        if error is not None:
            raise RuntimeError(error)
        return result

    def close(self) -> None:
        """Ends the process."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(60)
        self.process.stdout.close()

    def _answer(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the process of the pretended device ended with exit code {self.process.wait()}")
        return json.loads(line)


def serve() -> None:
    """Answers with None, or why there is no device; then with [result, traceback or None] for each line of input."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what others print goes to the standard error
    try:
        load()
        from tests.pretend_cuda.install import install

        install()
    except UnavailableError as error:
        print(json.dumps(str(error)), file=answers, flush=True)
        return
    print("null", file=answers, flush=True)
    from tests.pretend_cuda import cases

    for line in sys.stdin:
        function, *arguments = json.loads(line)
        try:
            answer = [getattr(cases, function)(*arguments), None]
        except Exception:
            answer = [None, traceback.format_exc()]
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    serve()
