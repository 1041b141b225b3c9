"""HumanoidStandup-v5: stand up from lying on the back."""

from __future__ import annotations

from os import PathLike

import torch
from torch import Tensor

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

    def __init__(
        self,
        num_envs: int = 1,
        device: str | torch.device = "cpu",
        *,
        xml_file: str | PathLike[str] = "humanoidstandup.xml",
        frame_skip: int = 5,
        uph_cost_weight: float = 1,
        ctrl_cost_weight: float = 0.1,
        impact_cost_weight: float = 0.5e-6,
        impact_cost_range: tuple[float, float] = (-float("inf"), 10.0),
        reset_noise_scale: float = 1e-2,
        exclude_current_positions_from_observation: bool = True,
        include_cinert_in_observation: bool = True,
        include_cvel_in_observation: bool = True,
        include_qfrc_actuator_in_observation: bool = True,
        include_cfrc_ext_in_observation: bool = True,
    ) -> None:
        """Makes N copies.

        Args:
            num_envs: N >= 1.
            device: where to simulate.
            xml_file: MJCF file; its first joint is free.
            frame_skip: physics steps per action.
            uph_cost_weight: without effect, as in Gymnasium 1.4.
            ctrl_cost_weight: weight of the squared action.
            impact_cost_weight: weight of the squared contact forces.
            impact_cost_range: what the weighted squared contact forces are clipped to.
            reset_noise_scale: half-width of the uniform noise on qpos and qvel at reset.
            exclude_current_positions_from_observation: leave x and y out of the observation.
            include_cinert_in_observation: bodies' inertias are part of the observation.
            include_cvel_in_observation: bodies' velocities are part of the observation.
            include_qfrc_actuator_in_observation: actuator torques are part of the observation.
            include_cfrc_ext_in_observation: contact forces are part of the observation.
        """
        super().__init__(
            num_envs,
            device,
            xml_file=xml_file,
            frame_skip=frame_skip,
            reset_noise_scale=reset_noise_scale,
            exclude_current_positions=exclude_current_positions_from_observation,
            include_cinert=include_cinert_in_observation,
            include_cvel=include_cvel_in_observation,
            include_qfrc_actuator=include_qfrc_actuator_in_observation,
            include_cfrc_ext=include_cfrc_ext_in_observation,
        )
        self.uph_cost_weight = uph_cost_weight
        self.ctrl_cost_weight = ctrl_cost_weight
        self.impact_cost_weight = impact_cost_weight
        self.impact_cost_range = impact_cost_range

    def reward(self, state: Tensor, action: Tensor, next_state: Tensor) -> Tensor:
        """Height per time step, less the weighted squared action and the clipped weighted squared contact
        forces, plus 1: [N].
        """
        height = next_state[:, 2] / self.mj_model.opt.timestep
        ctrl_cost = self.ctrl_cost_weight * action.square().sum(dim=1)
        impact_cost = self.impact_cost_weight * self.squared_contact_forces(next_state)
        return height - ctrl_cost - impact_cost.clamp(*self.impact_cost_range) + 1
