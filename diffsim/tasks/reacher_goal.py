"""ReacherGoal-v0: move the tip of a two-link arm to a goal, with a sparse reward."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from diffsim.tasks.goal_task import GoalTask


class ReacherGoal(GoalTask):
    """Move the fingertip of a two-link arm to a goal that is drawn anew in each episode.

    Achieved goal: x and y of the fingertip (m). Features: cosines, then sines of the two arm angles, then the arm's
    velocities (rad/s). Its environment on C MuJoCo is `diffsim.goal_envs.ReacherGoalEnv`.
    """

    xml_file = Path(__file__).with_name("reacher_goal.xml")
    frame_skip = 5
    distance_threshold = 0.02

    def reset_model(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """The arm at rest in any direction, bent by up to 2 rad; a goal between 0.05 and 0.2 m from the shoulder."""
        shoulder, elbow = self.uniform(1, torch.pi, generator), self.uniform(1, 2.0, generator)
        qpos = torch.cat([shoulder, elbow, self.uniform_in_ring(0.05, 0.2, generator)], dim=1)
        return qpos, torch.zeros_like(qpos)

    def achieved_goal(self, state: Tensor) -> Tensor:
        """Position of the fingertip, [N, 2] m."""
        return self.simulator.xpos(self.split(state)[0], ["fingertip"])[:, 0, :2]

    def features(self, state: Tensor) -> Tensor:
        """Cosines, sines and velocities of the arm's joints, [N, 6]."""
        qpos, qvel, _ = self.split(state)
        theta = qpos[:, :2]
        return torch.cat([theta.cos(), theta.sin(), qvel[:, :2]], dim=1)
