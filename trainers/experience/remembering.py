"""Actors that carry the memory of a policy from step to step."""

from __future__ import annotations

import torch
from torch import Tensor

from diffsim.policies import Policy, StochasticPolicy


class Remembering:
    """Acts by a policy, keeps its memory, and clears it where an episode ends.

    Args:
        policy: with or without a memory.
        memory: [N, M], its memory now.

    Attributes:
        memory: [N, M], after the last step.
    """

    def __init__(self, policy: Policy, memory: Tensor) -> None:
        self.policy, self.memory, self.memory_size = policy, memory, policy.memory_size

    def __call__(self, obs: Tensor, noise: Tensor | None) -> Tensor:
        """Actions [N, A] for `obs` [N, O] and `noise` [N, Z] or None."""
        action, self.memory = self.step(obs, self.memory, noise)
        return action

    def step(self, obs: Tensor, memory: Tensor, noise: Tensor | None) -> tuple[Tensor, Tensor]:
        """Actions [N, A] and the memory after them, [N, M]."""
        return self.policy.step(obs, memory, noise)

    def reset(self, ended: Tensor) -> None:
        """Clears the memory of the copies whose episodes `ended`, bool [N]."""
        if self.memory_size:
            self.memory = torch.where(ended.to(self.memory.device)[:, None], 0.0, self.memory)


class Sampling(Remembering):
    """Samples the actions of a stochastic policy, and keeps the samples before squashing.

    Args:
        policy: with or without a memory.
        memory: [N, M], its memory now.

    Attributes:
        samples: raw choices [N, F], one tensor per step.
    """

    def __init__(self, policy: StochasticPolicy, memory: Tensor) -> None:
        super().__init__(policy, memory)
        self.stochastic = policy
        self.samples: list[Tensor] = []

    def step(self, obs: Tensor, memory: Tensor, noise: Tensor | None) -> tuple[Tensor, Tensor]:
        """Actions [N, A] and the memory after them, [N, M]."""
        raw, memory = self.stochastic.draw(obs, memory, noise)
        self.samples.append(raw)
        return self.stochastic.squash(raw), memory
