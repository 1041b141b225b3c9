"""Walker2d-v5: walk forward on two legs in the plane."""

from __future__ import annotations

from os import PathLike

import torch

from diffsim.tasks.forward_task import UprightTask


class Walker2d(UprightTask):
    """Walk forward along x on two legs of three hinges each, in the plane of x and z.

    Observation: qpos without the first (m, rad), qvel clipped to [-10, 10]. Reward: mean velocity along x
    over the step (m/s), plus `healthy_reward` where healthy, less a cost of the squared action. Terminal: not
    healthy, which means that height or torso angle is out of its range.

    Source: gymnasium.envs.mujoco.walker2d_v5.
    """

    def __init__(
        self,
        num_envs: int = 1,
        device: str | torch.device = "cpu",
        *,
        xml_file: str | PathLike[str] = "walker2d_v5.xml",
        frame_skip: int = 4,
        forward_reward_weight: float = 1.0,
        ctrl_cost_weight: float = 1e-3,
        healthy_reward: float = 1.0,
        terminate_when_unhealthy: bool = True,
        healthy_z_range: tuple[float, float] = (0.8, 2.0),
        healthy_angle_range: tuple[float, float] = (-1.0, 1.0),
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
