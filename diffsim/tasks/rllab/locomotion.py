"""Base classes of rllab's locomotion tasks."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from diffsim.engine.simulator import DynamicsPoint
from diffsim.tasks.rllab.kinematics import Kinematics, Motion
from diffsim.tasks.rllab.rllab_task import RllabTask


class RllabLocomotion(RllabTask):
    """Move forward along x with small actions. Never terminal.

    Reward of a step: velocity along x of the robot's centre of mass after it (m/s), less a cost of the squared action.
    rllab's `get_body_com("torso")` is this centre of mass, and `get_body_comvel("torso")` its velocity.

    Attributes:
        ctrl_cost: weight of the squared action.
    """

    ctrl_cost: ClassVar[float] = 5e-3

    def setup(self) -> None:
        """Prepares the kinematics."""
        super().setup()
        self.kinematics = Kinematics(self.mj_model, self.dtype, self.device)

    def motion(self, state: Tensor) -> Motion:
        """Centre of mass, its velocity, and rotation of the torso."""
        qpos, qvel, _ = self.split(state)
        return self.kinematics(qpos, qvel)

    def observation(self, state: Tensor) -> Tensor:
        """Positions, velocities, centre of mass: [N, nq + nv + 3]."""
        return torch.cat([state[:, : self.mj_model.nq + self.mj_model.nv], self.motion(state).com], dim=1)

    def reward(self, state: Tensor, action: Tensor, next_state: Tensor) -> Tensor:
        """Velocity less the weighted squared action, [N]."""
        return self.motion(next_state).velocity[:, 0] - self.ctrl_cost * self.squared_action(action)


class ContactTask(RllabLocomotion):
    """A locomotion task that observes the contact forces on bodies, clipped to [-1, 1], and punishes their squares.

    Extras: torque and force on each body of the model, the world's zeros first (`cfrc_ext`: N m, N), held constant.
    """

    def setup(self) -> None:
        """Counts the extras: six numbers for each body."""
        super().setup()
        self.num_forces = 6 * self.mj_model.nbody
        self.num_extras = self.num_forces

    def extras(self, evaluation: DynamicsPoint) -> Tensor:
        """Contact forces: [N, 6 nbody]."""
        return evaluation.cfrc_ext.flatten(1)

    def contact_forces(self, state: Tensor) -> Tensor:
        """Clipped torque and force on each body, [N, 6 nbody]."""
        return self.split(state)[2][:, : self.num_forces].clamp(-1, 1)
