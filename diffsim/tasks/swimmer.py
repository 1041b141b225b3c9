"""Swimmer-v5: swim forward with a chain of three links."""

from __future__ import annotations

from os import PathLike

import torch

from diffsim.tasks.forward_task import ForwardTask


class Swimmer(ForwardTask):
    """Swim along x with a chain of three links in a viscous fluid.

    Observation: qpos without the first two (m), qvel. Reward: mean velocity along x over the step (m/s), less
    a cost of the squared action. Never terminal.

    Source: gymnasium.envs.mujoco.swimmer_v5.
    """

    def __init__(
        self,
        num_envs: int = 1,
        device: str | torch.device = "cpu",
        *,
        xml_file: str | PathLike[str] = "swimmer.xml",
        frame_skip: int = 4,
        forward_reward_weight: float = 1.0,
        ctrl_cost_weight: float = 1e-4,
        reset_noise_scale: float = 0.1,
        exclude_current_positions_from_observation: bool = True,
    ) -> None:
        """Makes N copies.

        Args:
            num_envs: N >= 1.
            device: where to simulate.
            xml_file: MJCF file; its first two joints slide along x and y.
            frame_skip: physics steps per action.
            forward_reward_weight: weight of the velocity.
            ctrl_cost_weight: weight of the squared action.
            reset_noise_scale: half-width of the uniform noise on qpos and qvel at reset.
            exclude_current_positions_from_observation: leave x and y out of the observation.
        """
        super().__init__(
            xml_file,
            frame_skip,
            num_envs,
            device,
            forward_reward_weight=forward_reward_weight,
            ctrl_cost_weight=ctrl_cost_weight,
            reset_noise_scale=reset_noise_scale,
            skipped_qpos=2 if exclude_current_positions_from_observation else 0,
        )
