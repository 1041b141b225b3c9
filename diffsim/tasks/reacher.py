"""Reacher-v5: bring the tip of a two-link arm to a target."""

from __future__ import annotations

import torch
from torch import Tensor

from diffsim.engine.simulator import DynamicsPoint
from diffsim.options import option
from diffsim.tasks.task import Task


class Reacher(Task):
    """Move the fingertip of a two-link arm to a target that is drawn anew in each episode.

    Observation: cosines, then sines of the two arm angles; the target's position (m); the arm's velocities
    (rad/s); x and y from target to fingertip (m). Reward: minus the distance to the target, minus the squared
    action. Never terminal.

    Extras: the vector from target to fingertip (m), with its exact gradient.

    The model must have bodies "fingertip" and "target", and the target's two slides last.

    Source: gymnasium.envs.mujoco.reacher_v5.
    """

    max_episode_steps = 50
    num_extras = 3
    position_indices = (0, 1, 2, 3, 4, 5, 8, 9)

    xml_file = "reacher.xml"
    frame_skip = 2
    reward_dist_weight: float = option("weight of the distance.", default=1.0)
    reward_control_weight: float = option("weight of the squared action.", default=1.0)

    def reset_model(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Uniform noise on the arm; a target at rest, uniform in a disc of radius 0.2 m."""
        qpos = self.init_qpos + self.uniform(self.mj_model.nq, 0.1, generator)
        qvel = self.uniform(self.mj_model.nv, 0.005, generator)
        # The square root makes the density uniform in area; Gymnasium draws from the square and rejects.
        radius = 0.2 * ((self.uniform(1, 1.0, generator) + 1) / 2).sqrt()
        angle = self.uniform(1, torch.pi, generator)
        goal = radius * torch.cat([angle.cos(), angle.sin()], dim=1)
        return torch.cat([qpos[:, :-2], goal], dim=1), torch.cat([qvel[:, :-2], torch.zeros_like(goal)], dim=1)

    def extras(self, evaluation: DynamicsPoint) -> Tensor:
        """Fingertip minus target, [N, 3]."""
        fingertip, target = self.simulator.xpos(evaluation.qpos, ["fingertip", "target"]).unbind(dim=1)
        return fingertip - target

    def observation(self, state: Tensor) -> Tensor:
        """Cosines, sines, target position, arm velocities, offset from the target: [N, 10]."""
        qpos, qvel, offset = self.split(state)
        theta = qpos[:, :2]
        return torch.cat([theta.cos(), theta.sin(), qpos[:, 2:], qvel[:, :2], offset[:, :2]], dim=1)

    def reward(self, state: Tensor, action: Tensor, next_state: Tensor) -> Tensor:
        """Minus the weighted distance to the target and squared action, [N]."""
        distance = torch.linalg.vector_norm(self.split(next_state)[2], dim=1)
        return -self.reward_dist_weight * distance - self.reward_control_weight * action.square().sum(dim=1)
