"""Python processes that start at once: forks of one that has imported the large libraries, but not this project.

A new process takes five seconds to import PyTorch and Lightning, a forked one none. It imports `diffsim` itself, by its
own environment and folder. Tests of what is imported, and when, need processes of `subprocess` instead.
"""

from __future__ import annotations

import atexit
import functools
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
LIBRARIES = ("torch", "warp", "mujoco", "gymnasium", "lightning.pytorch.loggers", "torch.utils.tensorboard")
LIBRARIES += ("matplotlib.pyplot", "scipy.stats", "rich.progress", "yaml", "pytest")


class Server:
    """The process that the others are forked from. It has one thread, and computes nothing."""

    def __init__(self) -> None:
        self.socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.lock = threading.Lock()
        with theirs:
            fd = theirs.fileno()
            command = [sys.executable, "-m", "tests.processes", str(fd)]
            # Other threads would not survive a fork.
            environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
            self.process = subprocess.Popen(
                command, cwd=ROOT, env=environment, pass_fds=[fd], stdin=subprocess.DEVNULL, start_new_session=True
            )
        atexit.register(self.close)

    def ask(self, request: Any, fds: list[int]) -> int:
        """Its answer: the identifier of a new process, or the exit code of one that has ended."""
        with self.lock:
            socket.send_fds(self.socket, [json.dumps(request).encode()], fds)
            return json.loads(self.socket.recv(100))

    def close(self) -> None:
        """Ends it."""
        self.socket.close()
        self.process.wait()


@functools.cache
def server() -> Server:
    """The server of this process."""
    return Server()


class Process:
    """A process, as `subprocess.Popen`.

    Args:
        arguments: of Python, which start with "-m" and a module, "-c" and code, or a file.
        output, errors: files that it writes to.
        cwd, env: its folder and its environment; none for those of the test.
        start_new_session: makes it the leader of a process group.
    """

    def __init__(
        self,
        arguments: tuple[object, ...],
        output: Any = subprocess.DEVNULL,
        errors: Any = subprocess.DEVNULL,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        start_new_session: bool = False,
    ) -> None:
        request = {"arguments": list(map(str, arguments)), "cwd": str(cwd or Path.cwd())}
        request |= {"env": dict(os.environ if env is None else env), "session": start_new_session}
        with open(os.devnull, "w") as null:
            files = [null if file == subprocess.DEVNULL else file for file in (output, errors)]
            self.pid = server().ask(request, [file.fileno() for file in files])
        self.pidfd, self.returncode = os.pidfd_open(self.pid), None

    def poll(self) -> int | None:
        """Its exit code, or None while it runs."""
        if self.returncode is None and select.select([self.pidfd], [], [], 0)[0]:
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float = 600) -> int:
        """Its exit code, negative if a signal ended it.

        Raises: TimeoutError, after it has killed the process.
        """
        if self.returncode is None:
            if not select.select([self.pidfd], [], [], timeout)[0]:
                self.kill()
                raise TimeoutError(f"process {self.pid} has not ended within {timeout} s")
            self.returncode = server().ask(self.pid, [])
            os.close(self.pidfd)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Sends a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Kills it and waits for its end."""
        self.send_signal(signal.SIGKILL)
        self.wait()


def run(
    *arguments: object, cwd: Path | None = None, env: Mapping[str, str] | None = None, check: bool = False
) -> subprocess.CompletedProcess[str]:
    """Runs Python with these arguments, as `subprocess.run` with text output.

    Raises: AssertionError with its output, if `check` is given and it failed.
    """
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        code = Process(arguments, output, errors, cwd, env).wait()
        texts = [(file.seek(0), file.read())[1] for file in (output, errors)]
    assert code == 0 or not check, f"{arguments} ended with exit code {code}\n{texts[0]}\n{texts[1]}"
    return subprocess.CompletedProcess(list(map(str, arguments)), code, *texts)


# ------------------------------------------------------------------------------------------------ in the server


def serve(connection: socket.socket) -> list[str] | None:
    """Forks processes until the connection closes. Returns the arguments in a new process, and None in this one."""
    while True:
        message, fds, *_ = socket.recv_fds(connection, 1 << 20, 2)
        if not message:
            return None
        request = json.loads(message)
        if isinstance(request, int):
            answer = os.waitstatus_to_exitcode(os.waitpid(request, 0)[1])
        else:
            answer = os.fork()
            if answer == 0:
                connection.close()
                become(request, fds)
                return request["arguments"]
        for fd in fds:
            os.close(fd)
        connection.send(json.dumps(answer).encode())


def become(request: dict[str, Any], fds: list[int]) -> None:
    """Takes over the folder, the environment and the files of a request."""
    if request["session"]:
        os.setsid()
    sys.path += [path for path in request["env"].get("PYTHONPATH", "").split(os.pathsep) if path not in sys.path]
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    for number, fd in enumerate(fds, 1):
        os.dup2(fd, number)
        os.close(fd)


def execute(arguments: list[str]) -> None:
    """Does what Python does with these arguments."""
    kind, *others = arguments
    if kind == "-c":
        code, *others = others
        sys.argv, sys.path[0] = ["-c", *others], ""
        sys.modules["__main__"] = main = types.ModuleType("__main__")
        exec(compile(code, "<string>", "exec"), main.__dict__)
    elif kind == "-m":
        module, *others = others
        sys.argv, sys.path[0] = [module, *others], os.getcwd()
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    else:
        sys.argv, sys.path[0] = arguments, str(Path(kind).parent)
        runpy.run_path(kind, run_name="__main__")


if __name__ == "__main__":
    for library in LIBRARIES:
        importlib.import_module(library)
    gc.collect()
    gc.freeze()
    with socket.socket(fileno=int(sys.argv[1])) as ours:
        chosen = serve(ours)
    if chosen is not None:
        execute(chosen)
