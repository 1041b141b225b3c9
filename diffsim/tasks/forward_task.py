"""Base classes of the tasks that start near the model's reference state, and of those that move forward."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import ClassVar

import torch
from torch import Tensor

from diffsim.options import option
from diffsim.tasks.task import Task, within


class NoisyStart(Task):
    """Starts near the model's reference state; a quaternion is not normalized.

    Attributes:
        normal_velocities: noise on qvel is normal at reset, not uniform.
    """

    normal_velocities: ClassVar[bool] = False
    reset_noise_scale: float = option(
        "noise at reset: half-width of the uniform noise on qpos; half-width, or with normal noise standard deviation, "
        "of that on qvel.",
        default=0.1,
    )

    def reset_model(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Uniform noise on qpos; uniform or normal noise on qvel."""
        qpos = self.init_qpos + self.uniform(self.mj_model.nq, self.reset_noise_scale, generator)
        draw = self.normal if self.normal_velocities else self.uniform
        return qpos, draw(self.mj_model.nv, self.reset_noise_scale, generator)


class LocomotionTask(NoisyStart):
    """Moves a body whose first joints are its position, with small actions. Never terminal.

    Observation: qpos without the first `hidden_positions` (m, rad), qvel.

    Attributes:
        hidden_positions: leading positions that the observation leaves out, unless the option says otherwise.
    """

    hidden_positions: ClassVar[int] = 1
    ctrl_cost_weight: float = option("weight of the squared action.", default=0.1)
    exclude_current_positions_from_observation: bool = option(
        "leave x, or x and y, out of the observation.", default=True
    )

    @property
    def skipped_qpos(self) -> int:
        """Leading positions that the observation leaves out."""
        return self.hidden_positions if self.exclude_current_positions_from_observation else 0

    @property
    def position_indices(self) -> Sequence[int]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The observed numbers of qpos, which come first."""
        return range(self.mj_model.nq - self.skipped_qpos)

    def observation(self, state: Tensor) -> Tensor:
        """Positions without the skipped ones, and velocities: [N, O]."""
        return state[:, self.skipped_qpos : self.mj_model.nq + self.mj_model.nv]

    def ctrl_cost(self, action: Tensor) -> Tensor:
        """The weighted squared action: [N]."""
        return self.ctrl_cost_weight * action.square().sum(dim=1)


class ForwardTask(LocomotionTask):
    """Move forward along x, with small actions. Never terminal.

    Reward: mean velocity along x over the step (m/s), less a cost of the squared action.
    """

    forward_reward_weight: float = option("weight of the velocity.", default=1.0)

    def x(self, state: Tensor) -> Tensor:
        """Position along x whose velocity is rewarded: [N] m."""
        return state[:, 0]

    def gain(self, state: Tensor, next_state: Tensor) -> Tensor:
        """The weighted velocity along x, the reward without the costs: [N]."""
        return self.forward_reward_weight * (self.x(next_state) - self.x(state)) / self.dt

    def reward(self, state: Tensor, action: Tensor, next_state: Tensor) -> Tensor:
        """`gain` less the weighted squared action, [N]."""
        return self.gain(state, next_state) - self.ctrl_cost(action)


class HealthyTask(ForwardTask):
    """Move forward along x without falling: the reward has a bonus for health, and an unhealthy state is terminal."""

    healthy_reward: float = option("reward of being healthy.", default=1.0)
    terminate_when_unhealthy: bool = option("whether an unhealthy state ends the episode.", default=True)
    healthy_z_range: tuple[float, float] = option("interval for the torso's height, m.", default=(-inf, inf))

    def gain(self, state: Tensor, next_state: Tensor) -> Tensor:
        """Weighted velocity, and the bonus for health: [N]."""
        return super().gain(state, next_state) + self.healthy_reward * self.healthy(next_state)

    def healthy(self, state: Tensor) -> Tensor:
        """Whether the torso's height, the third position, lies within its open interval: bool [N]."""
        return within(state[:, 2], self.healthy_z_range)

    def terminal(self, state: Tensor) -> Tensor:
        """Not healthy, if `terminate_when_unhealthy`."""
        return ~self.healthy(state) & self.terminate_when_unhealthy


class UprightTask(HealthyTask):
    """Move forward in the plane of x and z, in a model whose first three joints are x, z and the torso's angle.

    Observed velocities are clipped to [-10, 10]. Healthy: height and torso angle are in their open intervals.
    """

    frame_skip = 4
    ctrl_cost_weight = 1e-3
    reset_noise_scale = 5e-3
    healthy_angle_range: tuple[float, float] = option("open interval for the torso's angle, rad.", default=(-1.0, 1.0))

    def observation(self, state: Tensor) -> Tensor:
        """Positions without the skipped ones, and clipped velocities: [N, O]."""
        qpos, qvel, _ = self.split(state)
        return torch.cat([qpos[:, self.skipped_qpos :], qvel.clamp(-10, 10)], dim=1)

    def healthy(self, state: Tensor) -> Tensor:
        """Whether height and angle lie within their open intervals: bool [N]."""
        return within(state[:, 1], self.healthy_z_range) & within(state[:, 2], self.healthy_angle_range)
