"""PointPush-v0: push a disc to a goal, with a sparse reward."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from diffsim.options import option
from diffsim.tasks.goal_task import GoalTask, distance


class PointPush(GoalTask):
    """Push a disc to a goal that is drawn anew in each episode, with a point that motors move in the plane.

    Achieved goal: x and y of the disc (m). Features: positions of point and disc (m), and their velocities (m/s). The
    dense reward is minus the disc's distance from the goal, minus `reward_near_weight` times the point's distance from
    the disc, which is the only part with a gradient while the point does not touch the disc. Its environment on C
    MuJoCo is `diffsim.goal_envs.PointPushEnv`.
    """

    xml_file = Path(__file__).with_name("point_push.xml")
    frame_skip = 5
    distance_threshold = 0.04
    reward_near_weight: float = option("weight of the distance from point to disc in the dense reward.", default=0.5)

    def reset_model(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """All at rest: a disc within 0.1 m of the middle, a point 0.1 to 0.2 m from it, a goal within 0.15 m."""
        disc = self.uniform_in_ring(0.0, 0.1, generator)
        point = disc + self.uniform_in_ring(0.1, 0.2, generator)
        qpos = torch.cat([point, disc, self.uniform_in_ring(0.0, 0.15, generator)], dim=1)
        return qpos, torch.zeros_like(qpos)

    def achieved_goal(self, state: Tensor) -> Tensor:
        """Position of the disc, [N, 2] m."""
        return self.split(state)[0][:, 2:4]

    def features(self, state: Tensor) -> Tensor:
        """Positions of point and disc, and velocities: [N, 8]."""
        qpos, qvel, _ = self.split(state)
        return torch.cat([qpos[:, :4], qvel[:, :4]], dim=1)

    def info(self, state: Tensor) -> dict[str, Tensor]:
        """Adds "near_distance", the distance from point to disc, m."""
        qpos = self.split(state)[0]
        return {**super().info(state), "near_distance": distance(qpos[:, :2], qpos[:, 2:4])}

    def compute_reward(self, achieved_goal: Tensor, desired_goal: Tensor, info: Mapping[str, Any]) -> Tensor:
        """As `GoalTask`; the dense reward also reads "near_distance" [...] in `info`."""
        reward = super().compute_reward(achieved_goal, desired_goal, info)
        return reward if self.reward_type == "sparse" else reward - self.reward_near_weight * info["near_distance"]
