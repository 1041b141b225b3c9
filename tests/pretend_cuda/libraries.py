"""Compiles and loads the two libraries of the pretended device. It must be done before torch is imported."""

from __future__ import annotations

import ctypes
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

SOURCES = [Path(__file__).with_name(name) for name in ("accelerator.cpp", "guard.cpp")]


class UnavailableError(Exception):
    """The pretended device cannot be made here; the message says why."""


def torch_folder() -> Path:
    """The folder of the installed torch, without importing it."""
    spec = importlib.util.find_spec("torch")
    assert spec is not None and spec.origin is not None
    return Path(spec.origin).parent


def compiled() -> list[Path]:
    """The compiled libraries, from a cache if torch and the sources are the same.

    Raises: UnavailableError without a C++ compiler, or if torch's headers do not fit the sources any more.
    """
    compiler = os.environ.get("CXX") or shutil.which("g++")
    if compiler is None:
        raise UnavailableError("the pretended CUDA device needs g++")
    digest = hashlib.sha256("".join([version("torch"), sys.version, *(s.read_text() for s in SOURCES)]).encode())
    cache = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "diffsim"
    folder = cache / f"pretend-cuda-{digest.hexdigest()[:16]}"
    folder.mkdir(parents=True, exist_ok=True)
    return [_compile(source, folder / f"{source.stem}.so", compiler) for source in SOURCES]


def _compile(source: Path, library: Path, compiler: str) -> Path:
    """Compiles a library, unless it exists."""
    if library.exists():
        return library
    torch = torch_folder()
    include = [f"-I{torch / 'include'}", f"-I{torch / 'include/torch/csrc/api/include'}"]
    link = [f"-L{torch / 'lib'}", "-lc10", "-ltorch_cpu"] if source.stem == "guard" else []
    with tempfile.TemporaryDirectory(dir=library.parent) as folder:
        made = Path(folder) / library.name
        command = [compiler, "-shared", "-fPIC", "-std=c++20", "-O1", *include, str(source), "-o", str(made), *link]
        run = subprocess.run(command, capture_output=True, text=True)
        if run.returncode:
            raise UnavailableError(f"torch's internals have moved: {run.stderr.strip().splitlines()[0]}")
        made.rename(library)
    return library


def load() -> None:
    """Loads the libraries, before torch's own.

    Raises: UnavailableError as `compiled`.
    """
    assert "torch" not in sys.modules, "the libraries must be loaded before torch"
    accelerator, guard = compiled()
    torch = torch_folder() / "lib"
    for library in (accelerator, torch / "libc10.so", torch / "libtorch_cpu.so", guard):
        try:
            ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
        except OSError as error:
            raise UnavailableError(f"torch's internals have moved: {error}") from error
