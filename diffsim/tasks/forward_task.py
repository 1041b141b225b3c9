"""Base classes of the tasks that move forward in a plane."""

from __future__ import annotations

from os import PathLike
from typing import Any

import torch
from torch import Tensor

from diffsim.tasks.task import Task, unbounded, within


class ForwardTask(Task):
    """Move forward along x, with small actions. Never terminal.

    Observation: qpos without the first numbers (m, rad), qvel. Reward: mean velocity along x over the step (m/s), less
    a cost of the squared action.

    Args:
        xml_file: as for `Task`.
        frame_skip: as for `Task`.
        num_envs: as for `Task`.
        device: as for `Task`.
        forward_reward_weight: weight of the velocity.
        ctrl_cost_weight: weight of the squared action.
        reset_noise_scale: half-width of the uniform noise on qpos and qvel at reset.
        skipped_qpos: number of leading positions that the observation leaves out.
    """

    def __init__(
        self,
        xml_file: str | PathLike[str],
        frame_skip: int,
        num_envs: int,
        device: str | torch.device,
        *,
        forward_reward_weight: float,
        ctrl_cost_weight: float,
        reset_noise_scale: float,
        skipped_qpos: int,
    ) -> None:
        super().__init__(xml_file, frame_skip, num_envs, device)
        self.forward_reward_weight, self.ctrl_cost_weight = forward_reward_weight, ctrl_cost_weight
        self.reset_noise_scale, self.skipped_qpos = reset_noise_scale, skipped_qpos
        self.observation_space = unbounded(self.mj_model.nq + self.mj_model.nv - skipped_qpos)

    def reset_model(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Uniform noise on the model's reference state."""
        qpos = self.init_qpos + self.uniform(self.mj_model.nq, self.reset_noise_scale, generator)
        return qpos, self.uniform(self.mj_model.nv, self.reset_noise_scale, generator)

    def observation(self, state: Tensor) -> Tensor:
        """Positions without the skipped ones, and velocities: [N, O]."""
        return state[:, self.skipped_qpos :]

    def reward(self, state: Tensor, action: Tensor, next_state: Tensor) -> Tensor:
        """Weighted velocity along x less the weighted squared action, [N]."""
        return self.gain(state, next_state) - self.ctrl_cost_weight * action.square().sum(dim=1)

    def gain(self, state: Tensor, next_state: Tensor) -> Tensor:
        """The reward without the action's cost: [N]."""
        velocity = (next_state[:, 0] - state[:, 0]) / self.dt
        return self.forward_reward_weight * velocity


class UprightTask(ForwardTask):
    """Move forward along x without falling, in a model whose first three joints are x, z and the torso's angle.

    Observed velocities are clipped to [-10, 10]. The reward has a bonus for health; an unhealthy state is terminal.

    Args:
        xml_file: as for `Task`.
        frame_skip: as for `Task`.
        num_envs: as for `Task`.
        device: as for `Task`.
        healthy_reward: the bonus.
        terminate_when_unhealthy: whether to end the episode where not healthy.
        healthy_z_range: open interval for the torso's height, m.
        healthy_angle_range: open interval for the torso's angle, rad.
        **weights: see `ForwardTask`.
    """

    def __init__(
        self,
        xml_file: str | PathLike[str],
        frame_skip: int,
        num_envs: int,
        device: str | torch.device,
        *,
        healthy_reward: float,
        terminate_when_unhealthy: bool,
        healthy_z_range: tuple[float, float],
        healthy_angle_range: tuple[float, float],
        **weights: Any,
    ) -> None:
        super().__init__(xml_file, frame_skip, num_envs, device, **weights)
        self.healthy_reward, self.terminate_when_unhealthy = healthy_reward, terminate_when_unhealthy
        self.healthy_z_range, self.healthy_angle_range = healthy_z_range, healthy_angle_range

    def observation(self, state: Tensor) -> Tensor:
        """Positions without the skipped ones, and clipped velocities: [N, O]."""
        qpos, qvel, _ = self.split(state)
        return torch.cat([qpos[:, self.skipped_qpos :], qvel.clamp(-10, 10)], dim=1)

    def gain(self, state: Tensor, next_state: Tensor) -> Tensor:
        """Weighted velocity, and the bonus for health: [N]."""
        return super().gain(state, next_state) + self.healthy_reward * self.healthy(next_state)

    def healthy(self, state: Tensor) -> Tensor:
        """Whether height and angle lie within their open intervals: bool [N]."""
        return within(state[:, 1], self.healthy_z_range) & within(state[:, 2], self.healthy_angle_range)

    def terminal(self, state: Tensor) -> Tensor:
        """Not healthy, if `terminate_when_unhealthy`."""
        return ~self.healthy(state) & self.terminate_when_unhealthy
