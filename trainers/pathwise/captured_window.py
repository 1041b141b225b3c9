"""A window, forward and backward, replayed as one CUDA graph."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from functools import partial

import torch
from torch import Tensor

from diffsim.engine.checks import DeferredChecks
from diffsim.mdp import Scenarios
from diffsim.trainers.experience.rollout import Trajectory, Worlds, window_checks
from diffsim.trainers.pathwise.window import DifferentiatedWindow

Compute = Callable[[Scenarios, Tensor, Tensor], DifferentiatedWindow]


class CapturedWindow:
    """Computes windows by replays of a graph that is captured at the first one.

    The host then launches one graph per window instead of thousands of kernels. Scenarios, drawn outside of the graph
    by the device's generator, are copied into its inputs. Networks must keep their memory: optimizers and averages
    change them in place. Nothing in a window depends on a number that the host reads: resets are masks, and checks are
    read after the replay. If one fails, the window is computed again without the graph, which raises its error.

    This has not run on a GPU. A simulated capture (`tests/pretend_cuda`) shows that replays give the bits of windows
    without a graph, and that no step of a capture reads a number. Not shown: that Warp's kernels may be launched on
    torch's capturing stream from the thread of the backward pass, the memory of the graph's pool, and any speed.

    Args:
        compute: differentiates a window, for scenarios, ages int64 [N] and memories [N, M] on a CUDA device.
    """

    def __init__(self, compute: Compute) -> None:
        self.compute = compute
        self.graph: torch.cuda.CUDAGraph | None = None

    def __call__(self, scenarios: Scenarios, age: Tensor, memory: Tensor) -> DifferentiatedWindow:
        """The window, in memory of its own.

        Raises: NonFiniteError as `compute`.
        """
        if self.graph is None:
            self._capture(scenarios, age, memory)
        assert self.graph is not None
        for place, value in zip(self.inputs, _tensors(scenarios, age, memory), strict=True):
            place.copy_(value)
        self.graph.replay()
        trajectory, worlds, *parts, terminated = self.window
        with window_checks() as checks:
            checks.add(self.failed, partial(self.compute, scenarios, age, memory))
            count = checks.read(terminated.tensor)
            return DifferentiatedWindow(
                Trajectory(*(part.clone() for part in trajectory)),
                Worlds(*(part.clone() for part in worlds)),
                *(part.clone() for part in parts),
                num_terminated=count,
            )

    def _capture(self, scenarios: Scenarios, age: Tensor, memory: Tensor) -> None:
        """Computes a window once, which loads kernels and makes buffers, and captures a second one."""
        self.inputs = [value.clone() for value in _tensors(scenarios, age, memory)]
        names = [field.name for field in fields(Scenarios)]
        given = Scenarios(**dict(zip(names, self.inputs, strict=False))), *self.inputs[-2:]
        stream, current = torch.cuda.Stream(age.device), torch.cuda.current_stream(age.device)
        stream.wait_stream(current)
        with torch.cuda.stream(stream):
            self.compute(*given)
        current.wait_stream(stream)
        graph, checks = torch.cuda.CUDAGraph(), DeferredChecks()
        with torch.cuda.graph(graph), checks.resumed():
            self.window = self.compute(*given)
            self.failed = checks.any_failed()
        self.graph = graph


def _tensors(scenarios: Scenarios, age: Tensor, memory: Tensor) -> list[Tensor]:
    """All inputs of a window."""
    return [*(getattr(scenarios, field.name) for field in fields(Scenarios)), age, memory]
