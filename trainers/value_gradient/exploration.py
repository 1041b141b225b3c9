"""Noise that a deterministic policy explores with, in units of the actions' half widths."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from diffsim.trainers.ranges import require

MEAN_REVERSION = 0.15  # theta of Lillicrap et al. (2016), per step of the environment


class Exploration(nn.Module):
    """Noise [N, A] for one step of every copy after another.

        gaussian   e_t = std * z_t
        ou         e_t = (1 - theta) e_{t-1} + std * z_t,    e = 0 where an episode begins

    The second one, an Ornstein-Uhlenbeck process, pushes in one direction for about 1 / theta = 7 steps. What it
    remembers is a buffer, and so in the checkpoint.

    Args:
        kind: "gaussian" or "ou".
        std: of the fresh noise of a step, at least 0.
        num_envs: N.
        action_size: A.

    Raises: ValueError if an option is out of range.
    Source: Lillicrap et al. (2016), section 7, with time in steps.
    """

    last: Tensor

    def __init__(self, kind: Literal["gaussian", "ou"], std: float, num_envs: int, action_size: int) -> None:
        super().__init__()
        require(kind in ("gaussian", "ou"), "exploration", "one of gaussian, ou", repr(kind))
        require(0 <= std < math.inf, "exploration_std", ">= 0", std)
        self.std, self.memory = std, 1.0 - MEAN_REVERSION if kind == "ou" else 0.0
        self.register_buffer("last", torch.zeros(num_envs, action_size))

    def forward(self, noise: Tensor) -> Tensor:
        """The next noise [N, A], from standard normal `noise` [N, A]."""
        self.last.mul_(self.memory).add_(noise, alpha=self.std)
        return self.last.clone()

    def begin(self, ended: Tensor) -> None:
        """Forgets the past of the copies whose episodes `ended`, bool [N]."""
        self.last.mul_(~ended[:, None])
