"""Base class of the two humanoid tasks: the body, its observation and its reset."""

from __future__ import annotations

import torch
from torch import Tensor

from diffsim.engine.simulator import DynamicsPoint
from diffsim.options import option
from diffsim.tasks.forward_task import LocomotionTask


class HumanoidTask(LocomotionTask):
    """A humanoid of 17 hinges on a free torso, with its dynamics in the observation.

    Observation: qpos without the first two (m, unit quaternion, rad), qvel, and if included, of the last
    evaluation of the dynamics: inertia of each body about the centre of mass (`cinert`: 6 numbers kg m^2, 3 kg m, 1
    kg), its velocity there (`cvel`: rad/s, m/s), the actuators' torques on the hinges (N m), and torque and
    force on each body by its contacts (`cfrc_ext`: N m, N).

    The model's first joint must be free.

    Extras: those quantities, held constant. A subclass defines `reward` and `terminal`; its own extras come first.
    """

    frame_skip = 5
    hidden_positions = 2
    reset_noise_scale = 1e-2
    include_cinert_in_observation: bool = option("bodies' inertias are part of the observation.", default=True)
    include_cvel_in_observation: bool = option("bodies' velocities are part of the observation.", default=True)
    include_qfrc_actuator_in_observation: bool = option("actuator torques are part of the observation.", default=True)
    include_cfrc_ext_in_observation: bool = option("contact forces are part of the observation.", default=True)

    def setup(self) -> None:
        """Counts the extras: those that are observed, and the contact forces, which the reward reads in any case."""
        bodies = self.mj_model.nbody - 1
        observed = 10 * bodies * self.include_cinert_in_observation + 6 * bodies * self.include_cvel_in_observation
        observed += (self.mj_model.nv - 6) * self.include_qfrc_actuator_in_observation
        self.num_forces = 6 * bodies  # contact forces come last
        self.num_extras = observed + self.num_forces
        self.num_observed = observed + self.num_forces * self.include_cfrc_ext_in_observation

    def extras(self, evaluation: DynamicsPoint) -> Tensor:
        """Included inertias, velocities and actuator torques, then contact forces: [N, num_extras].

        The world's rows and the free joint's torques are left out.
        """
        sim, qpos = self.simulator, evaluation.qpos
        parts = []
        if self.include_cinert_in_observation:
            parts.append(sim.cinert(qpos)[:, 1:].flatten(1))
        if self.include_cvel_in_observation:
            parts.append(sim.cvel(qpos, evaluation.qvel)[:, 1:].flatten(1))
        if self.include_qfrc_actuator_in_observation:
            parts.append(evaluation.qfrc_actuator[:, 6:])
        parts.append(evaluation.cfrc_ext[:, 1:].flatten(1))
        return torch.cat(parts, dim=1)

    def observation(self, state: Tensor) -> Tensor:
        """Positions, unless excluded without x and y, velocities, and the included extras: [N, 348]."""
        end = self.num_extras - (0 if self.include_cfrc_ext_in_observation else self.num_forces)
        observed = self.split(state)[2][:, end - self.num_observed : end]
        return torch.cat([super().observation(state), observed], dim=1)

    def squared_contact_forces(self, state: Tensor) -> Tensor:
        """Sum of squares of all contact torques and forces, [N]."""
        return state[:, -self.num_forces :].square().sum(dim=1)
