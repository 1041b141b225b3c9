"""Counts what the host asks of the pretended device, by the line of our code that asks."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

ROOT = str(Path(__file__).parents[2]) + "/"
HERE = str(Path(__file__).parent) + "/"

WAITS: Counter[str] = Counter()
"""Reads, uploads and synchronizations by line. Torch waits for an upload from memory that is not pinned."""

COUNTS: Counter[str] = Counter()
"""Operations of the device, launches of kernels, and replays of graphs."""


RECORDING: list[list[Callable[[], None]]] = []
"""The graphs that are being captured, at most one: what they do again when they are replayed."""


def wait(kind: str) -> None:
    """Counts a wait of the host for the device.

    Raises: RuntimeError in a capture, as CUDA does.
    """
    if RECORDING:
        raise RuntimeError(f"CUDA error: operation not permitted when stream is capturing: {kind} at {caller()}")
    WAITS[f"{kind} at {caller()}"] += 1


def caller() -> str:
    """The innermost line of the project that led here."""
    frame = sys._getframe(1)
    while frame is not None:
        name = frame.f_code.co_filename
        if name.startswith(ROOT) and not name.startswith(HERE):
            return f"{name.removeprefix(ROOT)}:{frame.f_lineno}"
        frame = frame.f_back
    return "torch"
