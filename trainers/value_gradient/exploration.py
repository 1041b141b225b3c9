"""Noise that a deterministic policy explores with, in units of the actions' half widths."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

MEAN_REVERSION = 0.15  # theta of Lillicrap et al. (2016), per step of the environment


class Exploration(nn.Module):
    """A noise process e_t [N, A], one for each of N copies.

        gaussian   e_t = std * z_t
        ou         e_t = (1 - theta) e_{t-1} + std * z_t,    e = 0 at the start of an episode

    Ornstein-Uhlenbeck noise ("ou") is correlated over about 1 / theta = 7 steps. Its last value is a buffer, so that
    checkpoints hold it.

    Args:
        kind: "gaussian" or "ou".
        std: standard deviation of the noise added per step, at least 0.
        num_envs: N.
        action_size: A.

    Source: Lillicrap et al. (2016), section 7, with time in steps.
    """

    last: Tensor

    def __init__(self, kind: Literal["gaussian", "ou"], std: float, num_envs: int, action_size: int) -> None:
        super().__init__()
        self.std, self.memory = std, 1.0 - MEAN_REVERSION if kind == "ou" else 0.0
        self.register_buffer("last", torch.zeros(num_envs, action_size))

    def forward(self, noise: Tensor) -> Tensor:
        """The next e_t [N, A] from standard normal `noise` z_t [N, A]."""
        self.last.mul_(self.memory).add_(noise, alpha=self.std)
        return self.last.clone()

    def reset(self, ended: Tensor) -> None:
        """Sets the noise to 0 in the copies whose episodes `ended`, bool [N]."""
        self.last.mul_(~ended[:, None])
