"""Ant-v5: walk forward on four legs."""

from __future__ import annotations

import torch
from torch import Tensor

from diffsim.engine.simulator import DynamicsPoint
from diffsim.options import option
from diffsim.tasks.forward_task import HealthyTask


class Ant(HealthyTask):
    """Walk forward along x on four legs of two hinges each.

    Observation: qpos without the first two (m, unit quaternion, rad), qvel, and for each body the torque and
    force of its contacts (N m, N), clipped to `contact_force_range`. Reward: mean velocity along x of
    `main_body` over the step (m/s), plus `healthy_reward` where healthy, less costs of the squared action and
    of the squared clipped contact forces. Terminal: not healthy, which means that the torso's height is out of
    its range, or a number is not finite.

    The model's first joint must be free.

    Extras: x of the main body (m), with its exact gradient, and the contact forces, held constant.

    Source: gymnasium.envs.mujoco.ant_v5.
    """

    xml_file = "ant.xml"
    frame_skip = 5
    hidden_positions = 2
    normal_velocities = True
    ctrl_cost_weight = 0.5
    healthy_z_range = (0.2, 1.0)
    contact_cost_weight: float = option("weight of the squared contact forces.", default=5e-4)
    main_body: int | str = option("name or id of the body whose velocity is rewarded.", default=1)
    contact_force_range: tuple[float, float] = option(
        "interval to which contact forces are clipped.", default=(-1.0, 1.0)
    )
    include_cfrc_ext_in_observation: bool = option("contact forces are part of the observation.", default=True)

    def setup(self) -> None:
        """Counts the extras: x, and six numbers for each body."""
        self.num_extras = 1 + 6 * self.mj_model.nbody

    def extras(self, evaluation: DynamicsPoint) -> Tensor:
        """X of the main body, and contact forces of all bodies, the world's zeros first: [N, 1 + 6 nbody]."""
        x = self.simulator.xpos(evaluation.qpos, [self.main_body])[:, 0, :1]
        return torch.cat([x, evaluation.cfrc_ext.flatten(1)], dim=1)

    def contact_forces(self, state: Tensor) -> Tensor:
        """Clipped torque and force on each body, [N, 6 nbody]."""
        return self.split(state)[2][:, 1:].clamp(*self.contact_force_range)

    def observation(self, state: Tensor) -> Tensor:
        """Positions, unless excluded without x and y, velocities, contact forces: [N, 105]."""
        qpos_and_qvel = super().observation(state)
        if not self.include_cfrc_ext_in_observation:
            return qpos_and_qvel
        # The world's own row of forces is left out of the observation.
        return torch.cat([qpos_and_qvel, self.contact_forces(state)[:, 6:]], dim=1)

    def x(self, state: Tensor) -> Tensor:
        """Position of the main body along x, [N] m."""
        return self.split(state)[2][:, 0]

    def reward(self, state: Tensor, action: Tensor, next_state: Tensor) -> Tensor:
        """Weighted velocity along x, and the bonus for health, less weighted squared action and contact forces: [N]."""
        contact_cost = self.contact_cost_weight * self.contact_forces(next_state).square().sum(dim=1)
        return super().reward(state, action, next_state) - contact_cost

    def healthy(self, state: Tensor) -> Tensor:
        """Whether the torso's height is in its closed interval, and all is finite: bool [N]."""
        low, high = self.healthy_z_range
        return (low <= state[:, 2]) & (state[:, 2] <= high) & state.isfinite().all(dim=1)
