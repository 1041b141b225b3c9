"""Known reward and termination functions of some tasks, by name; the rewards are differentiable."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Reward = Callable[[Tensor, Tensor, Tensor], Tensor]
Termination = Callable[[Tensor], Tensor]

POLE_LIMIT = 0.2  # rad, at which Gymnasium's InvertedPendulum-v5 terminates


def pendulum_reward(obs: Tensor, action: Tensor, next_obs: Tensor) -> Tensor:
    """Reward of Gymnasium's Pendulum-v1, a function of the state before the step and of the action.

        r = -(angle^2 + 0.1 velocity^2 + 0.001 torque^2)

    The observation is [cos, sin, velocity]. (cos, sin) need not have norm 1.
    """
    angle = torch.atan2(obs[..., 1], obs[..., 0])
    return -(angle.square() + 0.1 * obs[..., 2].square() + 0.001 * action[..., 0].square())


def upright_reward(obs: Tensor, action: Tensor, next_obs: Tensor) -> Tensor:
    """A differentiable reward for InvertedPendulum-v5, whose own reward, 1 per step, has no gradient.

        r = 1 - (angle / limit)^2 - cart^2

    The observation is [cart, angle, cart velocity, angular velocity].
    """
    return 1.0 - (next_obs[..., 1] / POLE_LIMIT).square() - next_obs[..., 0].square()


def pole_falls(next_obs: Tensor) -> Tensor:
    """Termination of Gymnasium's InvertedPendulum-v5: the pole leans by more than 0.2 rad."""
    return next_obs[..., 1].abs() > POLE_LIMIT


def hopper_falls(next_obs: Tensor) -> Tensor:
    """Termination of Gymnasium's Hopper-v5: height <= 0.7 m, lean >= 0.2 rad, or another magnitude >= 100.

    The observation is [height, lean, three joints, six velocities].
    """
    healthy = (next_obs[..., 0] > 0.7) & (next_obs[..., 1].abs() < 0.2) & (next_obs[..., 1:].abs() < 100).all(-1)
    return ~healthy


def never(next_obs: Tensor) -> Tensor:
    """Never terminates."""
    return torch.zeros(next_obs.shape[:-1], dtype=torch.bool, device=next_obs.device)


REWARDS: dict[str, Reward] = {"Pendulum-v1": pendulum_reward, "InvertedPendulum-v5/upright": upright_reward}
TERMINATIONS: dict[str, Termination] = {"never": never, "InvertedPendulum-v5": pole_falls, "Hopper-v5": hopper_falls}
