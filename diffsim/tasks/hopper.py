"""Hopper-v5: hop forward on one leg in the plane."""

from __future__ import annotations

from os import PathLike

import torch
from torch import Tensor

from diffsim.tasks.forward_task import UprightTask
from diffsim.tasks.task import within


class Hopper(UprightTask):
    """Hop forward along x on one leg of three hinges, in the plane of x and z.

    Observation: qpos without the first (m, rad), qvel clipped to [-10, 10]. Reward: mean velocity along x
    over the step (m/s), plus `healthy_reward` where healthy, less a cost of the squared action. Terminal: not
    healthy, which means that height, torso angle, or another entry of the state is out of its range.

    Source: gymnasium.envs.mujoco.hopper_v5.
    """

    def __init__(
        self,
        num_envs: int = 1,
        device: str | torch.device = "cpu",
        *,
        xml_file: str | PathLike[str] = "hopper.xml",
        frame_skip: int = 4,
        forward_reward_weight: float = 1.0,
        ctrl_cost_weight: float = 1e-3,
        healthy_reward: float = 1.0,
        terminate_when_unhealthy: bool = True,
        healthy_state_range: tuple[float, float] = (-100.0, 100.0),
        healthy_z_range: tuple[float, float] = (0.7, float("inf")),
        healthy_angle_range: tuple[float, float] = (-0.2, 0.2),
        reset_noise_scale: float = 5e-3,
        exclude_current_positions_from_observation: bool = True,
    ) -> None:
        """Makes N copies.

        Args:
            num_envs: N >= 1.
            device: where to simulate.
            xml_file: MJCF file; its first three joints are x, z and the torso's angle.
            frame_skip: physics steps per action.
            forward_reward_weight: weight of the velocity.
            ctrl_cost_weight: weight of the squared action.
            healthy_reward: reward of being healthy.
            terminate_when_unhealthy: whether an unhealthy state ends the episode.
            healthy_state_range: open interval for qpos without the first two, and for qvel.
            healthy_z_range: open interval for the torso's height, m.
            healthy_angle_range: open interval for the torso's angle, rad.
            reset_noise_scale: half-width of the uniform noise on qpos and qvel at reset.
            exclude_current_positions_from_observation: leave x out of the observation.
        """
        super().__init__(
            xml_file,
            frame_skip,
            num_envs,
            device,
            forward_reward_weight=forward_reward_weight,
            ctrl_cost_weight=ctrl_cost_weight,
            healthy_reward=healthy_reward,
            terminate_when_unhealthy=terminate_when_unhealthy,
            healthy_z_range=healthy_z_range,
            healthy_angle_range=healthy_angle_range,
            reset_noise_scale=reset_noise_scale,
            skipped_qpos=int(exclude_current_positions_from_observation),
        )
        self.healthy_state_range = healthy_state_range

    def healthy(self, state: Tensor) -> Tensor:
        """Whether height, angle and all other entries lie within their open intervals: bool [N]."""
        return super().healthy(state) & within(state[:, 2:], self.healthy_state_range).all(dim=1)
