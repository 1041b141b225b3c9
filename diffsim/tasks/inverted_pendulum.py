"""InvertedPendulum-v5: balance a pole on a cart."""

from __future__ import annotations

from os import PathLike

import torch
from torch import Tensor

from diffsim.tasks.task import Task, unbounded


class InvertedPendulum(Task):
    """Balance a pole on a cart that is pushed left and right.

    Observation: qpos (cart m, pole rad), qvel. Reward: 1 while the pole is within 0.2 rad of upright, so its
    gradient is zero everywhere. Terminal: the pole is farther from upright.

    Source: gymnasium.envs.mujoco.inverted_pendulum_v5.
    """

    def __init__(
        self,
        num_envs: int = 1,
        device: str | torch.device = "cpu",
        *,
        xml_file: str | PathLike[str] = "inverted_pendulum.xml",
        frame_skip: int = 2,
        reset_noise_scale: float = 0.01,
    ) -> None:
        """Makes N copies.

        Args:
            num_envs: N >= 1.
            device: where to simulate.
            xml_file: MJCF file; the pole's hinge is the second joint.
            frame_skip: physics steps per action.
            reset_noise_scale: half-width of the uniform noise on qpos and qvel at reset.
        """
        super().__init__(xml_file, frame_skip, num_envs, device)
        self.reset_noise_scale = reset_noise_scale
        self.observation_space = unbounded(self.mj_model.nq + self.mj_model.nv)

    def reset_model(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Uniform noise on the model's reference state."""
        qpos = self.init_qpos + self.uniform(self.mj_model.nq, self.reset_noise_scale, generator)
        return qpos, self.uniform(self.mj_model.nv, self.reset_noise_scale, generator)

    def observation(self, state: Tensor) -> Tensor:
        """The whole state, [N, 4]."""
        return state

    def reward(self, state: Tensor, action: Tensor, next_state: Tensor) -> Tensor:
        """1 unless `next_state` is terminal, [N]."""
        return (~self.terminal(next_state)).to(self.dtype)

    def terminal(self, state: Tensor) -> Tensor:
        """Pole more than 0.2 rad from upright, or a number that is not finite: bool [N]."""
        return (state[:, 1].abs() > 0.2) | ~state.isfinite().all(dim=1)
