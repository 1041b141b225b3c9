"""HalfCheetah-v5: run forward on two legs in the plane."""

from __future__ import annotations

from os import PathLike

import torch
from torch import Tensor

from diffsim.tasks.forward_task import ForwardTask


class HalfCheetah(ForwardTask):
    """Run forward along x on two legs of three hinges each, in the plane of x and z.

    Observation: qpos without the first (m, rad), qvel. Reward: mean velocity along x over the step (m/s),
    less a cost of the squared action. Never terminal.

    Source: gymnasium.envs.mujoco.half_cheetah_v5.
    """

    def __init__(
        self,
        num_envs: int = 1,
        device: str | torch.device = "cpu",
        *,
        xml_file: str | PathLike[str] = "half_cheetah.xml",
        frame_skip: int = 5,
        forward_reward_weight: float = 1.0,
        ctrl_cost_weight: float = 0.1,
        reset_noise_scale: float = 0.1,
        exclude_current_positions_from_observation: bool = True,
    ) -> None:
        """Makes N copies.

        Args:
            num_envs: N >= 1.
            device: where to simulate.
            xml_file: MJCF file; its first joint slides along x.
            frame_skip: physics steps per action.
            forward_reward_weight: weight of the velocity.
            ctrl_cost_weight: weight of the squared action.
            reset_noise_scale: half-width of the uniform noise on qpos, standard deviation of that on qvel.
            exclude_current_positions_from_observation: leave x out of the observation.
        """
        super().__init__(
            xml_file,
            frame_skip,
            num_envs,
            device,
            forward_reward_weight=forward_reward_weight,
            ctrl_cost_weight=ctrl_cost_weight,
            reset_noise_scale=reset_noise_scale,
            skipped_qpos=int(exclude_current_positions_from_observation),
        )

    def reset_model(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Uniform noise on qpos, normal noise on qvel."""
        qpos = self.init_qpos + self.uniform(self.mj_model.nq, self.reset_noise_scale, generator)
        return qpos, self.normal(self.mj_model.nv, self.reset_noise_scale, generator)
