"""RllabSimpleHumanoid-v0: walk forward on two legs, with few joints."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from diffsim.tasks.rllab.locomotion import ContactTask


class RllabSimpleHumanoid(ContactTask):
    """Walk forward along x on two legs, with ten motors of up to 100 N m in the legs and 20 N m in the shoulders.

    Observation: qpos (m, quaternion, rad), qvel, contact forces on bodies clipped to [-1, 1], centre of mass (m): 102
    numbers. Reward of a step, also of the last one, with actions u in [-1, 1], the velocity v (m/s) of the centre of
    mass after it and the clipped contact forces f:

        r = v_x + 0.2 - 5e-4 |u|^2 - 5e-6 |f|^2 - 5e-3 (v_y^2 + v_z^2)

    Terminal: the torso's height is outside [0.8, 2] m. An action lasts 0.01 s.

    Uniform random actions reach 39.7 +- 2.2 in 400 episodes, and 41.5 in the paper.

    Extras: the contact forces, held constant.

    Source: rllab, envs/mujoco/simple_humanoid_env.py and its model, whose dimensions are those here. MuJoCo now adds
    the margins of two geoms, which are therefore half of rllab's, and has another constraint solver than version 1.3.
    """

    ctrl_cost = 5e-4
    position_indices = tuple(range(17))

    xml_file = Path(__file__).with_name("simple_humanoid.xml")

    def observation(self, state: Tensor) -> Tensor:
        """Positions, velocities, contact forces, centre of mass: [N, 102]."""
        qpos, qvel, _ = self.split(state)
        return torch.cat([qpos, qvel, self.contact_forces(state), self.motion(state).com], dim=1)

    def reward(self, state: Tensor, action: Tensor, next_state: Tensor) -> Tensor:
        """The sum above, [N]."""
        velocity = self.motion(next_state).velocity
        contact_cost = 5e-6 * self.contact_forces(next_state).square().sum(dim=1)
        aside = 5e-3 * velocity[:, 1:].square().sum(dim=1)
        return velocity[:, 0] + 0.2 - self.ctrl_cost * self.squared_action(action) - contact_cost - aside

    def terminal(self, state: Tensor) -> Tensor:
        """Whether the torso's height is outside its closed interval: bool [N]."""
        return ~((state[:, 2] >= 0.8) & (state[:, 2] <= 2.0))
