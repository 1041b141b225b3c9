"""Captured kernel launches."""

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
    """A launch captured on memory of its own: inputs are copied in, the graph is replayed, outputs are copied out.

    Most of a launch's cost is Python that packs arguments; a replay has none. Several graphs, each over a share of the
    worlds, are replayed by as many threads.

    Args:
        launches: each launches a kernel on a share of `inputs` and `outputs`.
        inputs: what the launches read.
        outputs: what they write.
        device: where.
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

    def __call__(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """What the launches compute from other inputs of the same shapes: fresh tensors."""
        for mine, given in zip(self.inputs, inputs, strict=True):
            mine.copy_(given)
        if len(self.graphs) > 1:
            list(_pool(len(self.graphs), os.getpid()).map(wp.capture_launch, self.graphs))
        else:
            wp.capture_launch(self.graphs[0], stream=torch_stream(self.device))
        return [output.clone() for output in self.outputs]

    def _capture(self, launch: Callable[[], None]) -> Any:  # noqa: ANN401  (Warp's graph)
        """Launches once, which compiles and loads the kernel, and once more to capture it."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)  # Warp captures on a stream of its own
        launch()
        with wp.ScopedCapture(device=str(self.device)) as capture:
            launch()
        wp.synchronize_device(str(self.device))
        return capture.graph


def torch_stream(device: torch.device) -> wp.Stream | None:
    """The stream on which torch computes on a CUDA device."""
    return wp.stream_from_torch(torch.cuda.current_stream(device)) if device.type == "cuda" else None


@cache
def _pool(threads: int, process: int) -> ThreadPoolExecutor:  # noqa: ARG001  (threads do not survive a fork)
    """Threads of this process."""
    return ThreadPoolExecutor(threads, thread_name_prefix="diffsim")
