"""InvertedPendulum-v5: balance a pole on a cart."""

from __future__ import annotations

from torch import Tensor

from diffsim.tasks.forward_task import NoisyStart


class InvertedPendulum(NoisyStart):
    """Balance a pole on a cart that is pushed left and right.

    Observation: qpos (cart m, pole rad), qvel. Reward: 1 while the pole is within 0.2 rad of upright, so its
    gradient is zero everywhere. Terminal: the pole is farther from upright.

    The model's second joint must be the pole's hinge.

    Source: gymnasium.envs.mujoco.inverted_pendulum_v5.
    """

    xml_file = "inverted_pendulum.xml"
    frame_skip = 2
    reset_noise_scale = 0.01
    position_indices = (0, 1)

    def observation(self, state: Tensor) -> Tensor:
        """The whole state, [N, 4]."""
        return state

    def reward(self, state: Tensor, action: Tensor, next_state: Tensor) -> Tensor:
        """1 unless `next_state` is terminal, [N]."""
        return (~self.terminal(next_state)).to(self.dtype)

    def terminal(self, state: Tensor) -> Tensor:
        """Pole more than 0.2 rad from upright, or a number that is not finite: bool [N]."""
        return (state[:, 1].abs() > 0.2) | ~state.isfinite().all(dim=1)
