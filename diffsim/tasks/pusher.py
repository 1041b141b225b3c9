"""Pusher-v5: push a cylinder to a goal with a seven-joint arm."""

from __future__ import annotations

import torch
from torch import Tensor

from diffsim.engine.simulator import DynamicsPoint
from diffsim.options import option
from diffsim.tasks.task import Task

MOST_DRAWS = 40  # a cylinder is near the goal with probability 0.38, after all of them with 1e-17


class Pusher(Task):
    """Push a cylinder on a table to a goal with the tip of an arm of seven hinges.

    Observation: angles of the arm (rad), their velocities (rad/s), positions of tip, cylinder and goal (m).
    Reward: minus the weighted distances from cylinder to tip and from cylinder to goal (m), less a cost of
    the squared action. Never terminal.

    Extras: the three positions, with their exact gradients.

    C MuJoCo finds the contacts of the fingers with the cylinder by iteration, to 1e-6 m; the simulator solves for them
    exactly. Over 200 steps, most of them with such a contact, C MuJoCo's next state differs from the exact one by at
    most 1.2e-5 in qpos and 2.6e-4 in qvel (95th percentile 7.5e-7 and 1.6e-5).

    The model must have bodies "tips_arm", "object" and "goal", and the slides of object and goal last, two each.

    Source: gymnasium.envs.mujoco.pusher_v5.
    """

    max_episode_steps = 100
    num_extras = 9
    position_indices = (*range(7), *range(14, 23))

    xml_file = "pusher_v5.xml"
    frame_skip = 5
    reward_near_weight: float = option("weight of the distance from cylinder to tip.", default=0.5)
    reward_dist_weight: float = option("weight of the distance from cylinder to goal.", default=1)
    reward_control_weight: float = option("weight of the squared action.", default=0.1)

    def reset_model(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """The arm at its reference with uniform noise on its velocities; a cylinder at rest, uniform in the part of
        a rectangle that is farther than 0.17 m from the goal.
        """
        cylinder, near = self._draw_cylinder(generator)
        for _ in range(MOST_DRAWS):
            if not (near.is_cuda or near.any()):  # a GPU draws them all: to ask it costs more
                break
            again, still_near = self._draw_cylinder(generator)
            cylinder, near = torch.where(near[:, None], again, cylinder), near & still_near
        qpos = self.init_qpos.expand(self.num_envs, -1)
        qvel = self.uniform(self.mj_model.nv, 0.005, generator)
        goal, rest = torch.zeros_like(cylinder), torch.zeros_like(qvel[:, -4:])
        return torch.cat([qpos[:, :-4], cylinder, goal], dim=1), torch.cat([qvel[:, :-4], rest], dim=1)

    def _draw_cylinder(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Uniform in [-0.3, 0) x [-0.2, 0.2): [N, 2] m; and whether it is near the goal, bool [N]."""
        y = self.uniform(1, 0.15, generator) - 0.15
        cylinder = torch.cat([y, self.uniform(1, 0.2, generator)], dim=1)
        return cylinder, torch.linalg.vector_norm(cylinder, dim=1) <= 0.17

    def extras(self, evaluation: DynamicsPoint) -> Tensor:
        """Positions of tip, cylinder and goal, [N, 9]."""
        return self.simulator.xpos(evaluation.qpos, ["tips_arm", "object", "goal"]).flatten(1)

    def observation(self, state: Tensor) -> Tensor:
        """Arm angles, arm velocities, positions of tip, cylinder and goal: [N, 23]."""
        qpos, qvel, positions = self.split(state)
        return torch.cat([qpos[:, :7], qvel[:, :7], positions], dim=1)

    def reward(self, state: Tensor, action: Tensor, next_state: Tensor) -> Tensor:
        """Minus the weighted distances and squared action, [N]."""
        tip, cylinder, goal = self.split(next_state)[2].split(3, dim=1)
        near = torch.linalg.vector_norm(cylinder - tip, dim=1)
        distance = torch.linalg.vector_norm(cylinder - goal, dim=1)
        effort = action.square().sum(dim=1)
        return (
            -self.reward_near_weight * near - self.reward_dist_weight * distance - self.reward_control_weight * effort
        )
