"""RllabDoublePendulum-v0: balance two poles, one on the other, on a cart."""

from __future__ import annotations

from math import pi, radians
from pathlib import Path

import torch
from torch import Tensor

from diffsim.engine.simulator import DynamicsPoint
from diffsim.tasks.rllab.rod_task import RodTask

START_ANGLE = radians(20.0)
"""Largest angle of the lower pole at reset, rad."""


DENSITY, RADIUS = 1000.0, 0.045
"""Of the poles, kg/m^3, m."""


class RllabDoublePendulum(RodTask):
    """Balance a double pole on a cart that is pushed with up to 500 N; the "double inverted pendulum" of the paper.

    Observation: cart position (m); sines, then cosines of the pole angles; qvel clipped to [-10, 10]; constraint forces
    (N, N m), clipped to [-10, 10]: 11 numbers. Reward of a step, also of the last one, from the tip x, z (m) and the
    angular velocities (rad/s) after it:

        r = 10 - 0.01 x^2 - (z - 2)^2 - 1e-3 omega_1^2 - 5e-3 omega_2^2

    Terminal: the tip is at or below 1 m. An episode starts at rest; the lower pole's angle is uniform in 20 degrees to
    both sides. An action lasts 0.02 s. `random_model=True` draws the length of each pole in [0.5, 1.0) m.

    Uniform random actions reach 150.1 +- 0.2 in 40,000 episodes, and 149.7 in the paper; with capsules as MuJoCo treats
    them today 155.0.

    Extras: the constraint forces.

    Source: rllab, envs/mujoco/inverted_double_pendulum_env.py and its model, whose dimensions are those here.
    """

    num_extras = 3
    rods = ("pole", "pole2")
    nominal_lengths = (0.6, 0.6)
    position_indices = (0, 1, 2, 3, 4)

    xml_file = Path(__file__).with_name("double_pendulum.xml")
    frame_skip = 2

    def reset_model(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """A random angle of the lower pole, at rest."""
        angle = self.uniform(1, START_ANGLE, generator)
        zero = torch.zeros_like(angle)
        return torch.cat([zero, angle, zero], dim=1), zero.expand(-1, 3)

    def random_lengths(self, generator: torch.Generator) -> Tensor:
        """Lengths of the poles, uniform in [0.5, 1.0): [N, 2] m."""
        return 0.75 + self.uniform(2, 0.25, generator)

    def mass_and_inertia(self, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Of the cylinders that stand for the poles' capsules: see `cylinder_inertia`."""
        height = lengths + RADIUS
        mass = DENSITY * pi * RADIUS**2 * height
        across = mass * (3 * RADIUS**2 + height.square()) / 12
        return mass, torch.stack([across, across, mass * RADIUS**2 / 2], dim=2)

    def extras(self, evaluation: DynamicsPoint) -> Tensor:
        """Constraint forces: [N, 3]."""
        return evaluation.qfrc_constraint

    def observation(self, state: Tensor) -> Tensor:
        """Cart position, sines, cosines, velocities, constraint forces: [N, 11]."""
        qpos, qvel, forces = self.split(state)
        angles = qpos[:, 1:]
        limited = torch.cat([qvel, forces], dim=1).clamp(-10, 10)
        return torch.cat([qpos[:, :1], angles.sin(), angles.cos(), limited], dim=1)

    def reward(self, state: Tensor, action: Tensor, next_state: Tensor) -> Tensor:
        """The sum above, [N]."""
        qvel = self.split(next_state)[1]
        x, z = self.tip(next_state)
        distance = 0.01 * x.square() + (z - 2).square()
        return 10 - distance - 1e-3 * qvel[:, 1].square() - 5e-3 * qvel[:, 2].square()

    def terminal(self, state: Tensor) -> Tensor:
        """Whether the tip is at or below 1 m: bool [N]."""
        return self.tip(state)[1] <= 1

    def tip(self, state: Tensor) -> tuple[Tensor, Tensor]:
        """Position x, z of the upper pole's end: [N] m each."""
        qpos, lengths = self.split(state)[0], self.lengths(state)
        angle = qpos[:, 1:].cumsum(1)
        return qpos[:, 0] + (lengths * angle.sin()).sum(1), (lengths * angle.cos()).sum(1)
