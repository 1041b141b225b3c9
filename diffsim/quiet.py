"""Keeps away messages of other libraries on which a user cannot act."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import mujoco
import warp as wp

DRIVERS = ("libcuda.so", "libcuda.so.1")
"""Where Warp looks for NVIDIA's driver."""
EXPECTED = "attribute 'settotalmass' is deprecated"
"""Part of the compiler's warning about the model of Gymnasium's HalfCheetah-v5."""


def initialise_warp_on_cpu() -> None:
    """Initialises Warp where there is no NVIDIA driver, without its warning that there is none.

    The warning is written to file descriptor 2 by C code. Where there is a driver nothing happens: CUDA must not be
    initialised before a process forks.
    """
    for name in DRIVERS:
        with suppress(OSError):
            ctypes.CDLL(name)
            return
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        wp.init()
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


@contextmanager
def official_model() -> Iterator[None]:
    """Compiles a model of Gymnasium in the context, without MuJoCo's warning that one of them uses an old attribute.

    Other warnings are written to standard error.
    """
    previous = mujoco.get_mju_user_warning()

    def warn(message: str) -> None:
        if EXPECTED in message:
            return
        if previous is None:
            print(f"WARNING: {message}", file=sys.stderr)
        else:
            previous(message)

    mujoco.set_mju_user_warning(warn)
    try:
        yield
    finally:
        mujoco.set_mju_user_warning(previous)
