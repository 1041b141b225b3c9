"""The goal tasks on C MuJoCo, in NumPy: they evaluate policies, and are the reference of the tasks' tests.

`OfficialGoalEnv` makes the same steps from the tasks' torch functions, several times slower.
"""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import Any

import mujoco
import numpy as np

from diffsim.cart_pole_env import TASKS, OwnMujocoEnv
from diffsim.tasks.goal_task import check_goal_options, goal_space


class GoalMujocoEnv(OwnMujocoEnv):
    """A goal environment like those of gymnasium-robotics. The last two slides of its model are the goal.

    Observations are dictionaries of "observation", "achieved_goal" and "desired_goal". The reward of a step is
    `compute_reward` of the goals after it, and `info` has "is_success".

    Args:
        xml_file: MJCF file.
        frame_skip: physics steps per action.
        num_features: numbers in "observation".
        reward_type: "sparse" or "dense".
        distance_threshold: distance below which the goal is reached, m.
        **kwargs: of `MujocoEnv`, such as render_mode.
    """

    def __init__(
        self,
        xml_file: str | Path,
        frame_skip: int,
        num_features: int,
        reward_type: str,
        distance_threshold: float,
        **kwargs: Any,
    ) -> None:
        check_goal_options(reward_type, distance_threshold)
        self.reward_type, self.distance_threshold = reward_type, distance_threshold
        super().__init__(xml_file, frame_skip, goal_space(2, num_features), **{"camera_name": "above", **kwargs})

    @abstractmethod
    def features(self) -> np.ndarray:
        """The "observation", [F]."""

    @abstractmethod
    def achieved_goal(self) -> np.ndarray:
        """Position of what is moved to the goal, [2] m."""

    @abstractmethod
    def draw(self) -> np.ndarray:
        """Draws initial positions [nq]. Every episode starts at rest."""

    def info(self) -> dict[str, Any]:
        """Whether the goal is reached."""
        gap = np.linalg.norm(self.achieved_goal() - self.data.qpos[-2:])
        return {"is_success": bool(gap < self.distance_threshold)}

    def compute_reward(self, achieved_goal: np.ndarray, desired_goal: np.ndarray, info: Any) -> Any:
        """Reward [...] of a step that reached `achieved_goal` [..., 2] when the goal was `desired_goal` [..., 2]."""
        gap = np.linalg.norm(achieved_goal - desired_goal, axis=-1)
        return -gap if self.reward_type == "dense" else np.where(gap < self.distance_threshold, 0.0, -1.0)

    def reward(self, obs: dict[str, np.ndarray], action: np.ndarray, info: dict[str, Any]) -> float:
        """`compute_reward` of the goals."""
        return float(self.compute_reward(obs["achieved_goal"], obs["desired_goal"], info))

    def reset_model(self) -> Any:
        """Starts an episode."""
        self.set_state(self.draw(), np.zeros(self.model.nv))
        return self._get_obs()

    def uniform_in_ring(self, inner: float, outer: float) -> np.ndarray:
        """A point between two circles around the origin, uniform in area: [2] m."""
        radius = np.sqrt(self.np_random.uniform(inner**2, outer**2))
        angle = self.np_random.uniform(-np.pi, np.pi)
        return radius * np.array([np.cos(angle), np.sin(angle)])

    def _get_obs(self) -> dict[str, np.ndarray]:
        # After a step, positions of bodies are those before the last update of qpos.
        mujoco.mj_kinematics(self.model, self.data)
        goals = {"achieved_goal": self.achieved_goal(), "desired_goal": self.data.qpos[-2:].copy()}
        return {"observation": self.features(), **goals}


class ReacherGoalEnv(GoalMujocoEnv):
    """`diffsim.tasks.ReacherGoal` on C MuJoCo, with the same options."""

    def __init__(
        self,
        xml_file: str | Path = TASKS / "reacher_goal.xml",
        frame_skip: int = 5,
        reward_type: str = "sparse",
        distance_threshold: float = 0.02,
        **kwargs: Any,
    ) -> None:
        super().__init__(xml_file, frame_skip, 6, reward_type, distance_threshold, **kwargs)

    def features(self) -> np.ndarray:
        """Cosines, sines and velocities of the arm's joints, [6]."""
        theta = self.data.qpos[:2]
        return np.concatenate([np.cos(theta), np.sin(theta), self.data.qvel[:2]])

    def achieved_goal(self) -> np.ndarray:
        """Position of the fingertip."""
        return self.get_body_com("fingertip")[:2].copy()

    def draw(self) -> np.ndarray:
        """Angles and a goal."""
        arm = self.np_random.uniform([-np.pi, -2.0], [np.pi, 2.0])
        return np.concatenate([arm, self.uniform_in_ring(0.05, 0.2)])


class PointPushEnv(GoalMujocoEnv):
    """`diffsim.tasks.PointPush` on C MuJoCo, with the same options."""

    def __init__(
        self,
        xml_file: str | Path = TASKS / "point_push.xml",
        frame_skip: int = 5,
        reward_type: str = "sparse",
        distance_threshold: float = 0.04,
        reward_near_weight: float = 0.5,
        **kwargs: Any,
    ) -> None:
        self.reward_near_weight = reward_near_weight
        super().__init__(xml_file, frame_skip, 8, reward_type, distance_threshold, **kwargs)

    def features(self) -> np.ndarray:
        """Positions of point and disc, and velocities: [8]."""
        return np.concatenate([self.data.qpos[:4], self.data.qvel[:4]])

    def achieved_goal(self) -> np.ndarray:
        """Position of the disc."""
        return self.data.qpos[2:4].copy()

    def info(self) -> dict[str, Any]:
        """Whether the goal is reached, and the distance from point to disc."""
        return {**super().info(), "near_distance": float(np.linalg.norm(self.data.qpos[:2] - self.data.qpos[2:4]))}

    def compute_reward(self, achieved_goal: np.ndarray, desired_goal: np.ndarray, info: Any) -> Any:
        """As `GoalMujocoEnv`; the dense reward also reads "near_distance" in `info`."""
        reward = super().compute_reward(achieved_goal, desired_goal, info)
        return reward if self.reward_type == "sparse" else reward - self.reward_near_weight * info["near_distance"]

    def draw(self) -> np.ndarray:
        """A disc, a point that does not touch it, and a goal."""
        disc = self.uniform_in_ring(0.0, 0.1)
        return np.concatenate([disc + self.uniform_in_ring(0.1, 0.2), disc, self.uniform_in_ring(0.0, 0.15)])
