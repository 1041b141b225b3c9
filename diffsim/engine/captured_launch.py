"""Captures kernel launches and replays them."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import torch
import warp as wp
from torch import Tensor


class CapturedLaunch:
    """A launch captured on its own memory. A call copies inputs in, replays the graph and copies outputs out.

    Most of a launch's cost is Python code that packs arguments; a replay avoids it. With several graphs, each for a
    share of the worlds, one thread per graph replays it.

    Args:
        launches: each launches a kernel on a share of `inputs` and `outputs`.
        inputs: memory that the launches read.
        outputs: memory that they write; the results are first.
        device: the device of this memory.
    """

    def __init__(
        self,
        launches: Sequence[Callable[[], None]],
        inputs: list[Tensor],
        outputs: list[Tensor],
        device: torch.device,
    ) -> None:
        self.inputs, self.outputs = inputs, outputs
        self.device = device
        self.graphs = [self._capture(launch) for launch in launches]

    def __call__(self, inputs: Sequence[Tensor], types: Sequence[torch.dtype]) -> list[Tensor]:
        """Results of some types for other inputs of the same shapes and any precision, in new tensors."""
        for memory, value in zip(self.inputs, inputs, strict=True):
            memory.copy_(value)
        if len(self.graphs) > 1:
            list(_pool(len(self.graphs), os.getpid()).map(wp.capture_launch, self.graphs))
        else:
            wp.capture_launch(self.graphs[0], stream=torch_stream(self.device))
        return [output.to(kind, copy=True) for output, kind in zip(self.outputs, types, strict=False)]

    def _capture(self, launch: Callable[[], None]) -> Any:  # noqa: ANN401  (Warp's graph)
        """Launches once, which compiles and loads the kernel, and once more to capture it."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)  # Warp captures on its own stream
        launch()
        with wp.ScopedCapture(device=str(self.device)) as capture:
            launch()
        wp.synchronize_device(str(self.device))
        return capture.graph


def torch_stream(device: torch.device) -> wp.Stream | None:
    """Torch's current stream on a CUDA device."""
    return wp.stream_from_torch(torch.cuda.current_stream(device)) if device.type == "cuda" else None


def capturing(device: torch.device) -> bool:
    """Whether torch captures its current stream: a captured launch cannot be replayed there, and is not needed."""
    return device.type == "cuda" and torch.cuda.is_current_stream_capturing()


@cache
def _pool(threads: int, process: int) -> ThreadPoolExecutor:  # noqa: ARG001  (a forked process has no threads)
    """Thread pool of this process."""
    return ThreadPoolExecutor(threads, thread_name_prefix="diffsim")
