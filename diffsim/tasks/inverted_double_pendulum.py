"""InvertedDoublePendulum-v5: balance two poles, one on the other, on a cart."""

from __future__ import annotations

import torch
from torch import Tensor

from diffsim.engine.simulator import DynamicsPoint
from diffsim.options import option
from diffsim.tasks.forward_task import NoisyStart


class InvertedDoublePendulum(NoisyStart):
    """Balance a double pole on a cart that is pushed left and right.

    Observation: cart position (m); sines, then cosines of the pole angles; qvel clipped to [-10, 10]; the
    constraint force on the cart (N), clipped to [-10, 10]. Reward: `healthy_reward` unless terminal, less
    0.01 x^2 + (z - 2)^2 of the tip and 1e-3 v1^2 + 5e-3 v2^2 of the poles. Terminal: the tip is at or below 1
    m.

    Extras: x and z of the tip (m) and the constraint force, all with their exact gradients.

    The model's first site must be the tip, its first joint the cart's.

    Source: gymnasium.envs.mujoco.inverted_double_pendulum_v5.
    """

    num_extras = 3
    position_indices = (0, 1, 2, 3, 4)

    xml_file = "inverted_double_pendulum.xml"
    frame_skip = 5
    normal_velocities = True
    healthy_reward: float = option("reward of a step that does not end the episode.", default=10.0)

    def setup(self) -> None:
        """Checks that the model has a site, the tip."""
        if self.mj_model.nsite < 1:
            raise ValueError(f"xml_file must have a site at the tip of the poles, got {self.xml_file!r}")

    def extras(self, evaluation: DynamicsPoint) -> Tensor:
        """Tip x, tip z, constraint force on the cart: [N, 3]."""
        tip = self.simulator.site_xpos(evaluation.qpos, [0])[:, 0]
        return torch.cat([tip[:, ::2], evaluation.qfrc_constraint[:, :1]], dim=1)

    def observation(self, state: Tensor) -> Tensor:
        """Cart position, sines, cosines, velocities, constraint force: [N, 9]."""
        qpos, qvel, extras = self.split(state)
        angles = qpos[:, 1:]
        forces = extras[:, 2:]
        return torch.cat([qpos[:, :1], angles.sin(), angles.cos(), qvel.clamp(-10, 10), forces.clamp(-10, 10)], dim=1)

    def reward(self, state: Tensor, action: Tensor, next_state: Tensor) -> Tensor:
        """Bonus for staying up, less penalties on the tip's distance from (0, 2) and on the poles' speeds: [N]."""
        _, qvel, extras = self.split(next_state)
        x, z = extras[:, 0], extras[:, 1]
        distance = 0.01 * x**2 + (z - 2) ** 2
        velocity = 1e-3 * qvel[:, 1] ** 2 + 5e-3 * qvel[:, 2] ** 2
        return self.healthy_reward * ~self.terminal(next_state) - distance - velocity

    def terminal(self, state: Tensor) -> Tensor:
        """Tip at or below 1 m."""
        return self.split(state)[2][:, 1] <= 1
