"""RllabDoublePendulum-v0: balance two poles, one on the other, on a cart."""

from __future__ import annotations

from math import radians
from pathlib import Path

import torch
from torch import Tensor

from diffsim.engine.simulator import DynamicsPoint
from diffsim.tasks.rllab.rllab_task import RllabTask

START_ANGLE = radians(20.0)
"""Largest angle of the lower pole at reset, rad."""


class RllabDoublePendulum(RllabTask):
    """Balance a double pole on a cart that is pushed with up to 500 N; the "double inverted pendulum" of the paper.

    Observation: cart position (m); sines, then cosines of the pole angles; qvel clipped to [-10, 10]; constraint forces
    (N, N m), clipped to [-10, 10]: 11 numbers. Reward of a step, also of the last one, from the tip x, z (m) and the
    angular velocities (rad/s) after it:

        r = 10 - 0.01 x^2 - (z - 2)^2 - 1e-3 omega_1^2 - 5e-3 omega_2^2

    Terminal: the tip is at or below 1 m. An episode starts at rest; the lower pole's angle is uniform in 20 degrees to
    both sides. An action lasts 0.02 s.

    Uniform random actions reach 150.1 +- 0.2 in 40,000 episodes, and 149.7 in the paper; with capsules as MuJoCo treats
    them today 155.0.

    Extras: x and z of the tip, and the constraint forces, all with their exact gradients.

    Source: rllab, envs/mujoco/inverted_double_pendulum_env.py and its model, whose dimensions are those here.
    """

    num_extras = 5
    position_indices = (0, 1, 2, 3, 4)

    xml_file = Path(__file__).with_name("double_pendulum.xml")
    frame_skip = 2

    def reset_model(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """A random angle of the lower pole, at rest."""
        angle = self.uniform(1, START_ANGLE, generator)
        zero = torch.zeros_like(angle)
        return torch.cat([zero, angle, zero], dim=1), zero.expand(-1, 3)

    def extras(self, evaluation: DynamicsPoint) -> Tensor:
        """Tip x, tip z, constraint forces: [N, 5]."""
        tip = self.simulator.site_xpos(evaluation.qpos, ["tip"])[:, 0]
        return torch.cat([tip[:, ::2], evaluation.qfrc_constraint], dim=1)

    def observation(self, state: Tensor) -> Tensor:
        """Cart position, sines, cosines, velocities, constraint forces: [N, 11]."""
        qpos, qvel, extras = self.split(state)
        angles = qpos[:, 1:]
        limited = torch.cat([qvel, extras[:, 2:]], dim=1).clamp(-10, 10)
        return torch.cat([qpos[:, :1], angles.sin(), angles.cos(), limited], dim=1)

    def reward(self, state: Tensor, action: Tensor, next_state: Tensor) -> Tensor:
        """The sum above, [N]."""
        _, qvel, extras = self.split(next_state)
        x, z = extras[:, 0], extras[:, 1]
        distance = 0.01 * x.square() + (z - 2).square()
        return 10 - distance - 1e-3 * qvel[:, 1].square() - 5e-3 * qvel[:, 2].square()

    def terminal(self, state: Tensor) -> Tensor:
        """Whether the tip is at or below 1 m: bool [N]."""
        return self.split(state)[2][:, 1] <= 1
