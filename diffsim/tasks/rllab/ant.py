"""RllabAnt-v0: walk forward on four legs."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from diffsim.tasks.rllab.locomotion import ContactTask

STANCE = (0.0, 0.0, 0.55, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, -1.0, 0.0, -1.0, 0.0, 1.0)
"""Positions at reset without noise: torso (m, unit quaternion), then hip and ankle of each leg, rad."""


class RllabAnt(ContactTask):
    """Walk forward along x on four legs of two hinges, with motors of up to 150 N m.

    Observation: qpos (m, quaternion, rad), qvel, contact forces on bodies clipped to [-1, 1], the torso's rotation
    matrix by rows, centre of mass (m): 125 numbers. Reward of a step, also of the last one: velocity along x of the
    centre of mass (m/s), plus 0.05, less 0.005 |u|^2, with actions u in [-1, 1], less 0.0005 times the squared clipped
    contact forces. Terminal: the torso's height is outside [0.2, 1] m. An action lasts 0.02 s.

    Uniform random actions reach 14.9 +- 1.5 in 2,000 episodes, and 13.4 in the paper.

    Extras: the contact forces, held constant.

    Source: rllab, envs/mujoco/ant_env.py and its model, whose dimensions are those here. MuJoCo now adds the margins of
    two geoms, which are therefore half of rllab's, and has another constraint solver than version 1.3.
    """

    position_indices = tuple(range(15))

    xml_file = Path(__file__).with_name("ant.xml")

    def setup(self) -> None:
        """Sets the position at reset."""
        super().setup()
        self.init_qpos = torch.tensor(STANCE, dtype=self.dtype, device=self.device)

    def observation(self, state: Tensor) -> Tensor:
        """Positions, velocities, contact forces, torso's rotation, centre of mass: [N, 125]."""
        qpos, qvel, _ = self.split(state)
        motion = self.motion(state)
        parts = [qpos, qvel, self.contact_forces(state), motion.rotation.flatten(1), motion.com]
        return torch.cat(parts, dim=1)

    def reward(self, state: Tensor, action: Tensor, next_state: Tensor) -> Tensor:
        """Velocity, and 0.05, less weighted squared action and contact forces: [N]."""
        contact_cost = 5e-4 * self.contact_forces(next_state).square().sum(dim=1)
        return super().reward(state, action, next_state) + 0.05 - contact_cost

    def terminal(self, state: Tensor) -> Tensor:
        """Whether the torso's height is outside its closed interval: bool [N]."""
        return ~((state[:, 2] >= 0.2) & (state[:, 2] <= 1.0))
