"""Base class of the two humanoid tasks: the body, its observation and its reset."""

from __future__ import annotations

from os import PathLike

import torch
from torch import Tensor

from diffsim.engine.simulator import DynamicsPoint
from diffsim.tasks.task import Task, unbounded


class HumanoidTask(Task):
    """A humanoid of 17 hinges on a free torso, with its dynamics in the observation.

    Observation: qpos without the first two (m, unit quaternion, rad), qvel, and if included, of the last
    evaluation of the dynamics: inertia of each body about the centre of mass (`cinert`: 6 numbers kg m^2, 3 kg m, 1
    kg), its velocity there (`cvel`: rad/s, m/s), the actuators' torques on the hinges (N m), and torque and
    force on each body by its contacts (`cfrc_ext`: N m, N).

    Extras: those quantities, held constant. A subclass defines `reward` and `terminal`; its own extras come first.
    """

    def __init__(
        self,
        num_envs: int,
        device: str | torch.device,
        *,
        xml_file: str | PathLike[str],
        frame_skip: int,
        reset_noise_scale: float,
        exclude_current_positions: bool,
        include_cinert: bool,
        include_cvel: bool,
        include_qfrc_actuator: bool,
        include_cfrc_ext: bool,
    ) -> None:
        """Makes N copies. The arguments are those of the tasks, with shorter names."""
        super().__init__(xml_file, frame_skip, num_envs, device)
        self.reset_noise_scale = reset_noise_scale
        self.skipped_qpos = 2 if exclude_current_positions else 0
        self.include_cinert = include_cinert
        self.include_cvel = include_cvel
        self.include_qfrc_actuator = include_qfrc_actuator
        self.include_cfrc_ext = include_cfrc_ext
        bodies = self.mj_model.nbody - 1
        observed = 10 * bodies * include_cinert + 6 * bodies * include_cvel
        observed += (self.mj_model.nv - 6) * include_qfrc_actuator
        # Contact forces come last: the reward reads them even if the observation does not.
        self.num_forces = 6 * bodies
        self.num_extras = observed + self.num_forces
        self.num_observed = observed + self.num_forces * include_cfrc_ext
        size = self.mj_model.nq + self.mj_model.nv - self.skipped_qpos
        self.observation_space = unbounded(size + self.num_observed)

    def reset_model(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Uniform noise on the model's reference state; the quaternion is not normalized."""
        qpos = self.init_qpos + self.uniform(self.mj_model.nq, self.reset_noise_scale, generator)
        return qpos, self.uniform(self.mj_model.nv, self.reset_noise_scale, generator)

    def extras(self, evaluation: DynamicsPoint) -> Tensor:
        """Included inertias, velocities and actuator torques, then contact forces: [N, num_extras].

        The world's rows and the free joint's torques are left out.
        """
        sim, qpos = self.simulator, evaluation.qpos
        parts = []
        if self.include_cinert:
            parts.append(sim.cinert(qpos)[:, 1:].flatten(1))
        if self.include_cvel:
            parts.append(sim.cvel(qpos, evaluation.qvel)[:, 1:].flatten(1))
        if self.include_qfrc_actuator:
            parts.append(evaluation.qfrc_actuator[:, 6:])
        parts.append(evaluation.cfrc_ext[:, 1:].flatten(1))
        return torch.cat(parts, dim=1)

    def observation(self, state: Tensor) -> Tensor:
        """Positions, unless excluded without x and y, velocities, and the included extras: [N, 348]."""
        qpos, qvel, extras = self.split(state)
        end = self.num_extras - (0 if self.include_cfrc_ext else self.num_forces)
        return torch.cat([qpos[:, self.skipped_qpos :], qvel, extras[:, end - self.num_observed : end]], dim=1)

    def squared_contact_forces(self, state: Tensor) -> Tensor:
        """Sum of squares of all contact torques and forces, [N]."""
        return state[:, -self.num_forces :].square().sum(dim=1)
