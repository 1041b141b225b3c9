"""Base class of the tasks whose state has numbers that are no physics, such as which objects are left."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor

from diffsim.tasks.task import Task


class MemoryTask(Task):
    """A task with K numbers at the end of its state, drawn at reset and changed after each step.

    The state is [qpos, qvel, extras, memory]. Reward, observation and terminal states read `memory(state)`.

    Attributes:
        num_memory: K.
    """

    num_memory: int

    @abstractmethod
    def initial_memory(self, generator: torch.Generator) -> Tensor:
        """Draws the memory of every copy at reset: [N, K]."""

    @abstractmethod
    def rest_memory(self) -> Tensor:
        """A memory at which episodes may start, always the same: [N, K]."""

    @abstractmethod
    def next_memory(self, memory: Tensor, action: Tensor, reached: Tensor) -> Tensor:
        """Memory [N, K] after a step, from that before it, the action and the state reached.

        Args:
            memory: [N, K].
            action: [N, A].
            reached: [qpos, qvel, act, extras], [N, S - K].
        """

    @property
    def state_size(self) -> int:
        """Numbers in a state: nq + nv + na + num_extras + K."""
        return super().state_size + self.num_memory

    def memory(self, state: Tensor) -> Tensor:
        """Memory in `state` [N, S]: [N, K]."""
        return state[:, -self.num_memory :]

    def split(self, state: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """As `Task.split`; `state` may be without memory."""
        return super().split(state[:, : super().state_size])

    def rest_state(self) -> Tensor:
        """As `Task.rest_state`, with `rest_memory`."""
        return torch.cat([super().rest_state()[:, : super().state_size], self.rest_memory()], dim=1)

    def initial(self, generator: torch.Generator) -> Tensor:
        """Draws a fresh state for every copy, and then its memory: [N, S]."""
        qpos, qvel = self.reset_model(generator)
        act = self.reset_act(generator)
        return self.state_at(qpos, qvel, self.initial_memory(generator), act=act)

    def state_at(self, qpos: Tensor, qvel: Tensor, memory: Tensor | None = None, **arguments: Any) -> Tensor:
        """As `Task.state_at`, with `memory` [N, K]; None for `rest_memory`."""
        memory = self.rest_memory() if memory is None else memory
        return torch.cat([super().state_at(qpos, qvel, **arguments), memory], dim=1)

    def transition(self, state: Tensor, action: Tensor, noise: Tensor | None = None) -> Tensor:
        """As `Task.transition`, with the next memory."""
        reached = super().transition(state, action, noise)
        return torch.cat([reached, self.next_memory(self.memory(state), action, reached)], dim=1)
