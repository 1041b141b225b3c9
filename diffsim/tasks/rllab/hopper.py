"""RllabHopper-v0: hop forward on one leg."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from diffsim.engine.simulator import DynamicsPoint
from diffsim.tasks.rllab.locomotion import RllabLocomotion


class RllabHopper(RllabLocomotion):
    """Hop forward along x on one leg, with three motors of up to 200 N m.

    Observation: qpos without x (m, rad), qvel and constraint forces (N, N m), both clipped to [-10, 10], centre of
    mass (m): 20 numbers. Reward of a step, also of the last one: velocity along x of the centre of mass (m/s), plus 1,
    less 0.005 |u|^2, with actions u in [-1, 1]. Terminal: the torso at or below 0.7 m, pitched by 0.2 rad or more, or a
    joint's position or any velocity of 100 or more. An action lasts 0.02 s.

    Uniform random actions reach 7.84 +- 0.11 in 2,000 episodes, and 8.4 in the paper. An episode starts at the limits
    of hip and knee and lasts eight steps, so it depends on how stiff limits are: with an impedance of 0.5, in place of
    0.9 to 0.95, the return is 8.3.

    Extras: the constraint forces, with their exact gradient.

    Source: rllab, envs/mujoco/hopper_env.py and its model, whose dimensions are those here. MuJoCo now adds the margins
    of two geoms, which are therefore half of rllab's, and has another constraint solver than version 1.3.
    """

    num_extras = 6
    position_indices = tuple(range(5))

    xml_file = Path(__file__).with_name("hopper.xml")

    def extras(self, evaluation: DynamicsPoint) -> Tensor:
        """Constraint forces: [N, 6]."""
        return evaluation.qfrc_constraint

    def observation(self, state: Tensor) -> Tensor:
        """Positions without x, clipped velocities and constraint forces, centre of mass: [N, 20]."""
        qpos, qvel, forces = self.split(state)
        limited = torch.cat([qvel, forces], dim=1).clamp(-10, 10)
        return torch.cat([qpos[:, :1], qpos[:, 2:], limited, self.motion(state).com], dim=1)

    def reward(self, state: Tensor, action: Tensor, next_state: Tensor) -> Tensor:
        """One more than velocity less the weighted squared action, [N]."""
        return super().reward(state, action, next_state) + 1

    def terminal(self, state: Tensor) -> Tensor:
        """Whether the torso is too low or pitched, or a number is too large: bool [N]."""
        qpos, qvel, _ = self.split(state)
        upright = (qpos[:, 0] > 0.7) & (qpos[:, 2].abs() < 0.2)
        small = (torch.cat([qpos[:, 3:], qvel], dim=1).abs() < 100).all(dim=1)
        return ~(upright & small)
