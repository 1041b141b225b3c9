"""Rewards and terminations that are known, as differentiable functions of observations and actions, by name."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Reward = Callable[[Tensor, Tensor, Tensor], Tensor]
Termination = Callable[[Tensor], Tensor]

POLE_LIMIT = 0.2  # rad, where Gymnasium's InvertedPendulum-v5 ends


def pendulum_reward(obs: Tensor, action: Tensor, next_obs: Tensor) -> Tensor:
    """Gymnasium's Pendulum-v1, which pays for the state that is left: -(angle^2 + 0.1 velocity^2 + 0.001 torque^2).

    The observation is [cos, sin, velocity]. Its two first numbers need not lie on the circle.
    """
    angle = torch.atan2(obs[..., 1], obs[..., 0])
    return -(angle.square() + 0.1 * obs[..., 2].square() + 0.001 * action[..., 0].square())


def upright_reward(obs: Tensor, action: Tensor, next_obs: Tensor) -> Tensor:
    """A slope for InvertedPendulum-v5, whose own reward, 1 per step, has none: 1 - (angle / limit)^2 - cart^2.

    The observation is [cart, angle, cart velocity, angular velocity].
    """
    return 1.0 - (next_obs[..., 1] / POLE_LIMIT).square() - next_obs[..., 0].square()


def pole_falls(next_obs: Tensor) -> Tensor:
    """Gymnasium's InvertedPendulum-v5: where the pole leans by more than 0.2 rad."""
    return next_obs[..., 1].abs() > POLE_LIMIT


def hopper_falls(next_obs: Tensor) -> Tensor:
    """Gymnasium's Hopper-v5, where it is not healthy: height <= 0.7 m, lean >= 0.2 rad, or another number >= 100.

    The observation is [height, lean, three joints, six velocities].
    """
    healthy = (next_obs[..., 0] > 0.7) & (next_obs[..., 1].abs() < 0.2) & (next_obs[..., 1:].abs() < 100).all(-1)
    return ~healthy


def never(next_obs: Tensor) -> Tensor:
    """Nowhere."""
    return torch.zeros(next_obs.shape[:-1], dtype=torch.bool, device=next_obs.device)


REWARDS: dict[str, Reward] = {"Pendulum-v1": pendulum_reward, "InvertedPendulum-v5/upright": upright_reward}
TERMINATIONS: dict[str, Termination] = {"never": never, "InvertedPendulum-v5": pole_falls, "Hopper-v5": hopper_falls}
