"""Records launches and replays them."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import torch
import warp as wp
from torch import Tensor

Replay = Callable[[], None]


class CapturedLaunch:
    """A launch recorded on its own memory. A call copies inputs in, replays the launch and copies outputs out.

    Most of a launch's cost is Python code that packs arguments; a replay avoids it. With several replays, each of a
    share of the worlds, each has a thread.

    Args:
        replays: each launches a kernel or program on a share of `inputs` and `outputs`.
        inputs: memory that they read.
        outputs: memory that they write; the results are first.
    """

    def __init__(self, replays: Sequence[Replay], inputs: list[Tensor], outputs: list[Tensor]) -> None:
        self.replays, self.inputs, self.outputs = replays, inputs, outputs

    def __call__(self, inputs: Sequence[Tensor], types: Sequence[torch.dtype]) -> list[Tensor]:
        """Results of some types for other inputs of the same shapes and any precision, in new tensors."""
        for memory, value in zip(self.inputs, inputs, strict=True):
            memory.copy_(value)
        if len(self.replays) > 1:
            list(_pool(len(self.replays), os.getpid()).map(_call, self.replays))
        else:
            self.replays[0]()
        return [output.to(kind, copy=True) for output, kind in zip(self.outputs, types, strict=False)]


def capture(launch: Replay, device: torch.device) -> Replay:
    """Launches once, which compiles and loads the kernels, and once more to capture a graph, which the result replays.

    On CUDA the graph is replayed on torch's current stream.
    """
    if device.type == "cuda":
        torch.cuda.synchronize(device)  # Warp captures on its own stream
    launch()
    with wp.ScopedCapture(device=str(device)) as captured:
        launch()
    wp.synchronize_device(str(device))
    graph = captured.graph
    return lambda: wp.capture_launch(graph, stream=torch_stream(device))


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


def _call(replay: Replay) -> None:
    replay()
