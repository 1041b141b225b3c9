"""Humanoid-v5: walk forward on two legs."""

from __future__ import annotations

import torch
from torch import Tensor

from diffsim.engine.simulator import DynamicsPoint
from diffsim.options import option
from diffsim.tasks.forward_task import HealthyTask
from diffsim.tasks.humanoid_task import HumanoidTask


class Humanoid(HumanoidTask, HealthyTask):
    """Walk forward along x.

    Observation: positions, velocities, inertias, actuator torques and contact forces, see `HumanoidTask`.
    Reward: mean velocity along x of the centre of mass over the step (m/s), weighted, plus `healthy_reward`
    where healthy, less costs of the squared action and of the squared contact forces, the latter clipped.
    Terminal: not healthy, which means that the torso's height is out of its range.

    Extras: x of the centre of mass (m), with its exact gradient; inertias, velocities of bodies, actuator
    torques and contact forces are held constant.

    Gymnasium's model asks for 50 sweeps of projected Gauss-Seidel; constraints are solved to convergence here.
    Over 1,000 steps in contact under random actions, its next state differs from the converged one by 1.2e-8 in
    qpos and 1.3e-6 in qvel (median; at most 1.1e-7 and 1.3e-5), its reward by 5e-8 (7e-6) and its contact
    forces, some 200 N, by 3e-4 N (7e-3 N).

    Source: gymnasium.envs.mujoco.humanoid_v5.
    """

    xml_file = "humanoid.xml"
    forward_reward_weight = 1.25
    healthy_reward = 5.0
    healthy_z_range = (1.0, 2.0)
    contact_cost_weight: float = option("weight of the squared contact forces.", default=5e-7)
    contact_cost_range: tuple[float, float] = option(
        "interval to which the weighted squared contact forces are clipped.", default=(-float("inf"), 10.0)
    )

    def setup(self) -> None:
        """Counts the extras, and computes each body's share of the mass."""
        super().setup()
        self.num_extras += 1
        mass = torch.as_tensor(self.mj_model.body_mass, dtype=self.dtype, device=self.device)
        self.mass_fraction = mass / mass.sum()

    def extras(self, evaluation: DynamicsPoint) -> Tensor:
        """X of the centre of mass, then the extras of `HumanoidTask`: [N, num_extras]."""
        x = self.simulator.xipos(evaluation.qpos, range(self.mj_model.nbody))[:, :, 0] @ self.mass_fraction
        return torch.cat([x[:, None], super().extras(evaluation)], dim=1)

    def x(self, state: Tensor) -> Tensor:
        """Position of the centre of mass along x, [N] m."""
        return self.split(state)[2][:, 0]

    def reward(self, state: Tensor, action: Tensor, next_state: Tensor) -> Tensor:
        """Weighted velocity along x, and the bonus for health, less the weighted squared action and the clipped
        weighted squared contact forces: [N].
        """
        contact_cost = self.contact_cost_weight * self.squared_contact_forces(next_state)
        return super().reward(state, action, next_state) - contact_cost.clamp(*self.contact_cost_range)
