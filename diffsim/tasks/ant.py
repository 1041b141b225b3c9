"""Ant-v5: walk forward on four legs."""

from __future__ import annotations

from os import PathLike

import torch
from torch import Tensor

from diffsim.engine.simulator import DynamicsPoint
from diffsim.tasks.task import Task, unbounded


class Ant(Task):
    """Walk forward along x on four legs of two hinges each.

    Observation: qpos without the first two (m, unit quaternion, rad), qvel, and for each body the torque and
    force of its contacts (N m, N), clipped to `contact_force_range`. Reward: mean velocity along x of
    `main_body` over the step (m/s), plus `healthy_reward` where healthy, less costs of the squared action and
    of the squared clipped contact forces. Terminal: not healthy, which means that the torso's height is out of
    its range, or a number is not finite.

    Extras: x of the main body (m), with its exact gradient, and the contact forces, held constant.

    Source: gymnasium.envs.mujoco.ant_v5.
    """

    def __init__(
        self,
        num_envs: int = 1,
        device: str | torch.device = "cpu",
        *,
        xml_file: str | PathLike[str] = "ant.xml",
        frame_skip: int = 5,
        forward_reward_weight: float = 1,
        ctrl_cost_weight: float = 0.5,
        contact_cost_weight: float = 5e-4,
        healthy_reward: float = 1.0,
        main_body: int | str = 1,
        terminate_when_unhealthy: bool = True,
        healthy_z_range: tuple[float, float] = (0.2, 1.0),
        contact_force_range: tuple[float, float] = (-1.0, 1.0),
        reset_noise_scale: float = 0.1,
        exclude_current_positions_from_observation: bool = True,
        include_cfrc_ext_in_observation: bool = True,
    ) -> None:
        """Makes N copies.

        Args:
            num_envs: N >= 1.
            device: where to simulate.
            xml_file: MJCF file; its first joint is free.
            frame_skip: physics steps per action.
            forward_reward_weight: weight of the velocity.
            ctrl_cost_weight: weight of the squared action.
            contact_cost_weight: weight of the squared contact forces.
            healthy_reward: reward of being healthy.
            main_body: name or id of the body whose velocity is rewarded.
            terminate_when_unhealthy: whether an unhealthy state ends the episode.
            healthy_z_range: closed interval for the torso's height, m.
            contact_force_range: interval to which contact forces are clipped.
            reset_noise_scale: half-width of the uniform noise on qpos, standard deviation of that on qvel.
            exclude_current_positions_from_observation: leave x and y out of the observation.
            include_cfrc_ext_in_observation: contact forces are part of the observation.
        """
        super().__init__(xml_file, frame_skip, num_envs, device)
        self.forward_reward_weight = forward_reward_weight
        self.ctrl_cost_weight = ctrl_cost_weight
        self.contact_cost_weight = contact_cost_weight
        self.healthy_reward = healthy_reward
        self.main_body = main_body
        self.terminate_when_unhealthy = terminate_when_unhealthy
        self.healthy_z_range = healthy_z_range
        self.contact_force_range = contact_force_range
        self.reset_noise_scale = reset_noise_scale
        self.skipped_qpos = 2 if exclude_current_positions_from_observation else 0
        self.include_cfrc_ext = include_cfrc_ext_in_observation
        forces = 6 * self.mj_model.nbody
        self.num_extras = 1 + forces
        size = self.mj_model.nq + self.mj_model.nv - self.skipped_qpos
        # The world's own row of forces is left out of the observation.
        self.observation_space = unbounded(size + (forces - 6 if self.include_cfrc_ext else 0))

    def reset_model(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Uniform noise on qpos, its quaternion not normalized; normal noise on qvel."""
        qpos = self.init_qpos + self.uniform(self.mj_model.nq, self.reset_noise_scale, generator)
        return qpos, self.normal(self.mj_model.nv, self.reset_noise_scale, generator)

    def extras(self, evaluation: DynamicsPoint) -> Tensor:
        """X of the main body, and contact forces of all bodies, the world's zeros first: [N, 1 + 6 nbody]."""
        x = self.simulator.xpos(evaluation.qpos, [self.main_body])[:, 0, :1]
        return torch.cat([x, evaluation.cfrc_ext.flatten(1)], dim=1)

    def contact_forces(self, state: Tensor) -> Tensor:
        """Clipped torque and force on each body, [N, 6 nbody]."""
        return self.split(state)[2][:, 1:].clamp(*self.contact_force_range)

    def observation(self, state: Tensor) -> Tensor:
        """Positions, unless excluded without x and y, velocities, contact forces: [N, 105]."""
        qpos, qvel, _ = self.split(state)
        parts = [qpos[:, self.skipped_qpos :], qvel]
        if self.include_cfrc_ext:
            parts.append(self.contact_forces(state)[:, 6:])
        return torch.cat(parts, dim=1)

    def reward(self, state: Tensor, action: Tensor, next_state: Tensor) -> Tensor:
        """Weighted velocity along x, plus the bonus for health, less the weighted squared action and contact
        forces: [N].
        """
        x, next_x = self.split(state)[2][:, 0], self.split(next_state)[2][:, 0]
        gain = self.forward_reward_weight * (next_x - x) / self.dt
        gain = gain + self.healthy_reward * self.healthy(next_state)
        ctrl_cost = self.ctrl_cost_weight * action.square().sum(dim=1)
        contact_cost = self.contact_cost_weight * self.contact_forces(next_state).square().sum(dim=1)
        return gain - ctrl_cost - contact_cost

    def healthy(self, state: Tensor) -> Tensor:
        """Whether the torso's height is in its closed interval, and all is finite: bool [N]."""
        low, high = self.healthy_z_range
        return (low <= state[:, 2]) & (state[:, 2] <= high) & state.isfinite().all(dim=1)

    def terminal(self, state: Tensor) -> Tensor:
        """Not healthy, if `terminate_when_unhealthy`."""
        return ~self.healthy(state) & self.terminate_when_unhealthy
