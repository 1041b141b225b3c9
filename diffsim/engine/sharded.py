"""One task with its worlds split among processes: each process simulates its share and receives all results.

The processes split the physics and its gradient, which is nearly all of the work. They exchange states and their
gradients, and each evaluates the networks for all worlds. With any algorithm, a run gives the same result as in one
process.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from typing import Any

import torch
from torch import Tensor, distributed

from diffsim.engine.checks import error_suffix
from diffsim.engine.simulator import DynamicsPoint, Simulator
from diffsim.tasks.task import Task


def shard(task: Task) -> Task:
    """Makes one task from the worlds of all processes of the default group (`torch.distributed`).

    All processes must make the same calls in the same order, with the same arguments, and so draw the same random
    numbers. World n belongs to process n // task.num_envs.

    Args:
        task: the worlds of this process, equally many in each process, on the simulator. It is not changed.

    Raises: ValueError if there is no process group, the simulator does not run the task, or its model is random.
    """
    if not task.simulated:
        raise ValueError(f"task must run on the simulator, got {type(task).__name__}")
    if getattr(task, "random_model", False):
        raise ValueError("task.random_model must be False for worlds that processes share, got True")
    if not distributed.is_initialized():
        raise ValueError("shard needs a process group: see torch.distributed.init_process_group")
    whole = copy(task)
    whole.num_envs = task.num_envs * distributed.get_world_size()
    # It has all methods of `Simulator` that a task calls.
    whole.simulator = ShardedSimulator(task.simulator)  # pyright: ignore[reportAttributeAccessIssue]
    return whole


class ShardedSimulator:
    """`Simulator`'s methods that a task calls, for the worlds of all processes, with the same arguments and errors.

    Args:
        simulator: simulates the worlds of this process.
    """

    def __init__(self, simulator: Simulator) -> None:
        self.simulator = simulator
        self.model = simulator.model
        self.num_worlds = simulator.num_worlds * distributed.get_world_size()

    def step(self, state: Tensor, ctrl: Tensor, num_steps: int = 1, **others: Tensor | None) -> Tensor:
        """Next state, [N, nq + nv + na]."""

        def own(state: Tensor, ctrl: Tensor, *values: Tensor | None) -> Sequence[Tensor]:
            arguments: dict[str, Any] = dict(zip(others, values, strict=True))
            return [self.simulator.step(state, ctrl, num_steps, **arguments)]

        return self._share(own, state, ctrl, *others.values())[0]

    def advance(
        self, state: Tensor, ctrl: Tensor, num_steps: int = 1, **others: Tensor | None
    ) -> tuple[Tensor, DynamicsPoint]:
        """Next state, and the last evaluation, without solver iterations."""

        def own(state: Tensor, ctrl: Tensor, *values: Tensor | None) -> Sequence[Tensor]:
            arguments: dict[str, Any] = dict(zip(others, values, strict=True))
            next_state, evaluation = self.simulator.advance(state, ctrl, num_steps, **arguments)
            return [next_state, *evaluation[:-1]]

        next_state, *evaluation = self._share(own, state, ctrl, *others.values())
        return next_state, DynamicsPoint(*evaluation)

    def forward(self, state: Tensor, ctrl: Tensor, **others: Tensor | None) -> DynamicsPoint:
        """Evaluates the dynamics without a step."""

        def own(state: Tensor, ctrl: Tensor, *values: Tensor | None) -> Sequence[Tensor]:
            arguments: dict[str, Any] = dict(zip(others, values, strict=True))
            return self.simulator.forward(state, ctrl, **arguments)[:-1]

        return DynamicsPoint(*self._share(own, state, ctrl, *others.values()))

    def xpos(self, qpos: Tensor, bodies: Sequence[str | int]) -> Tensor:
        """World positions of bodies' origins, [N, len(bodies), 3] m."""
        return self._share(lambda own: [self.simulator.xpos(own, bodies)], qpos)[0]

    def xipos(self, qpos: Tensor, bodies: Sequence[str | int]) -> Tensor:
        """World positions of bodies' centres of mass, [N, len(bodies), 3] m."""
        return self._share(lambda own: [self.simulator.xipos(own, bodies)], qpos)[0]

    def site_xpos(self, qpos: Tensor, sites: Sequence[str | int]) -> Tensor:
        """World positions of sites, [N, len(sites), 3] m."""
        return self._share(lambda own: [self.simulator.site_xpos(own, sites)], qpos)[0]

    def cinert(self, qpos: Tensor) -> Tensor:
        """Bodies' inertias about their tree's centre of mass, without gradient: [N, nbody, 10]."""
        return self._share(lambda own: [self.simulator.cinert(own)], qpos)[0]

    def cvel(self, qpos: Tensor, qvel: Tensor) -> Tensor:
        """Bodies' twists about their tree's centre of mass, without gradient: [N, nbody, 6]."""
        return self._share(lambda *own: [self.simulator.cvel(*own)], qpos, qvel)[0]

    def _share(self, call: Callable[..., Sequence[Tensor]], *arguments: Tensor | None) -> list[Tensor]:
        """Results of `call` for all worlds; each process calls it with its own rows of the arguments."""
        for argument in arguments:
            if argument is not None and len(argument) != self.num_worlds:
                raise ValueError(f"arguments must have {self.num_worlds} rows, got {len(argument)}")
        count, rank = self.simulator.num_worlds, distributed.get_rank()
        with error_suffix(f", counted from world {rank * count}"):
            own = call(*(None if whole is None else _OwnWorlds.apply(whole, rank, count) for whole in arguments))
        packed = torch.cat([part.flatten(1) for part in own], dim=1)
        parts = _AllWorlds.apply(packed, rank).split([part[0].numel() for part in own], dim=1)
        return [part.view(self.num_worlds, *like.shape[1:]) for part, like in zip(parts, own, strict=True)]


class _OwnWorlds(torch.autograd.Function):
    """Selects this process's rows; the gradient gathers the rows of all processes."""

    @staticmethod
    def forward(ctx: Any, whole: Tensor, rank: int, count: int) -> Tensor:  # noqa: ANN401, D102
        ctx.rank = rank
        return whole[rank * count : (rank + 1) * count].clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:  # noqa: ANN401, D102
        return _AllWorlds.apply(grad, ctx.rank), None, None


class _AllWorlds(torch.autograd.Function):
    """Gathers the rows of all processes; the gradient, equal in all processes, keeps this process's rows."""

    @staticmethod
    def forward(ctx: Any, own: Tensor, rank: int) -> Tensor:  # noqa: ANN401, D102
        ctx.rank, ctx.count = rank, len(own)
        return _gather(own)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:  # noqa: ANN401, D102
        return _OwnWorlds.apply(grad, ctx.rank, ctx.count), None


def _gather(own: Tensor) -> Tensor:
    """Concatenates the rows of all processes."""
    parts = [torch.empty_like(own, memory_format=torch.contiguous_format) for _ in range(distributed.get_world_size())]
    distributed.all_gather(parts, own.contiguous())
    return torch.cat(parts)
