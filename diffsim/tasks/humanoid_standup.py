"""HumanoidStandup-v5: stand up from lying on the back."""

from __future__ import annotations

from torch import Tensor

from diffsim.options import option
from diffsim.tasks.humanoid_task import HumanoidTask


class HumanoidStandup(HumanoidTask):
    """Stand up from lying on the back.

    Observation: positions, velocities, inertias, actuator torques and contact forces, see `HumanoidTask`.
    Reward: height of the torso over the physics time step (m/s), less costs of the squared action and of the
    squared contact forces, the latter clipped, plus 1. Never terminal.

    Extras: inertias, velocities of bodies, actuator torques and contact forces, held constant.

    Gymnasium's model asks for 50 sweeps of projected Gauss-Seidel; constraints are solved to convergence here.
    Over 1,000 steps in contact under random actions, its next state differs from the converged one by 2.2e-8 in
    qpos and 2.7e-6 in qvel (median; at most 3.6e-7 and 5.5e-5), its reward by 3e-7 (7e-6) and its contact
    forces, some 250 N, by 8e-4 N (4e-2 N).

    Source: gymnasium.envs.mujoco.humanoidstandup_v5.
    """

    xml_file = "humanoidstandup.xml"
    uph_cost_weight: float = option("without effect, as in Gymnasium 1.4.", default=1)
    impact_cost_weight: float = option("weight of the squared contact forces.", default=0.5e-6)
    impact_cost_range: tuple[float, float] = option(
        "interval to which the weighted squared contact forces are clipped.", default=(-float("inf"), 10.0)
    )

    def reward(self, state: Tensor, action: Tensor, next_state: Tensor) -> Tensor:
        """Height per time step, less the weighted squared action and the clipped weighted squared contact
        forces, plus 1: [N].
        """
        height = next_state[:, 2] / self.mj_model.opt.timestep
        impact_cost = self.impact_cost_weight * self.squared_contact_forces(next_state)
        return height - self.ctrl_cost(action) - impact_cost.clamp(*self.impact_cost_range) + 1
