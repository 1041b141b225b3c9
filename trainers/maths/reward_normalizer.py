"""Rewards scaled by the running standard deviation of returns."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from diffsim.policies import ObservationNormalizer

LARGEST = 10.0
"""Largest absolute value of a scaled reward."""


class RewardNormalizer(nn.Module):
    """Divides rewards by the running standard deviation of the discounted return, so that values are of order one.

        R_t = gamma * R_{t-1} + r_t   (R starts from 0 in each episode),
        r'_t = clip(r_t / sqrt(var(R) + epsilon), -10, 10)

    Without the bound, rewards that hardly vary would be scaled by 1 / sqrt(epsilon).

    Scaling changes the unit of rewards but not the order of policies. The statistics are buffers, saved with the
    algorithm. Evaluation does not use them: logged returns are in the task's own unit.

    Args:
        num_envs: N.
        gamma: discount, in (0, 1].

    Source: Engstrom et al. (2020), "Implementation Matters in Deep Policy Gradients", section 2; the bound is that of
    Stable-Baselines3's VecNormalize.
    """

    running: Tensor

    def __init__(self, num_envs: int, gamma: float) -> None:
        super().__init__()
        self.gamma = gamma
        self.statistics = ObservationNormalizer(1)
        self.register_buffer("running", torch.zeros(num_envs))

    @torch.no_grad()
    def forward(self, reward: Tensor, ended: Tensor) -> Tensor:
        """Updates the statistics with the rewards of a window, and scales them.

        Args:
            reward: [H, N].
            ended: bool [H, N], whether an episode ended on each step.

        Returns: [H, N].
        """
        sums, running = [], self.running
        for reward_t, ended_t in zip(reward, ended, strict=True):
            sums.append(self.gamma * running + reward_t)
            running = torch.where(ended_t, 0.0, sums[-1])
        self.running = running
        self.statistics.update(torch.stack(sums).unsqueeze(-1))
        return (reward / torch.sqrt(self.statistics.variance + self.statistics.epsilon)).clamp(-LARGEST, LARGEST)
