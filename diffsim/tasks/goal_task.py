"""Tasks in which a goal is to be reached that is drawn anew in each episode."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import gymnasium
import torch
from gymnasium.spaces import Box, Dict
from torch import Tensor

from diffsim.tasks.task import Task, unbounded

REWARD_TYPES = ("sparse", "dense")


class GoalTask(Task):
    """Bring something to a place in the plane, the goal. Never terminal.

    Goals are positions of two slides, the last in the model, which nothing moves: they are part of qpos, so of the
    state and of scenarios. The observation is what Gymnasium makes of a goal environment's dictionary when it
    flattens it, in the order of the names:

        [achieved_goal, desired_goal, observation]

    so that a function of it is universal: V(s, g), pi(s, g).

    Rewards are a function of both goals. Sparse: 0 where they are nearer to each other than `distance_threshold`, else
    -1. Dense: minus the distance, which has a gradient for pathwise methods.

    A task gives `reset_model`, `achieved_goal` and `features`.

    Args:
        xml_file: MJCF file beside the tasks.
        num_features: numbers that `features` gives.
        frame_skip: physics steps per action.
        num_envs: N >= 1.
        device: where to simulate.
        reward_type: "sparse" or "dense".
        distance_threshold: how near is a success, m, above 0.

    Attributes:
        goal_size: numbers in a goal, 2.
        goal_observation_space: of one copy, the dictionary.
    """

    max_episode_steps = 50
    official_module = "diffsim.goal_envs"
    goal_size = 2

    def __init__(
        self,
        xml_file: str,
        num_features: int,
        frame_skip: int,
        num_envs: int,
        device: str | torch.device,
        reward_type: Literal["sparse", "dense"],
        distance_threshold: float,
    ) -> None:
        super().__init__(Path(__file__).with_name(xml_file), frame_skip, num_envs, device)
        check_goal_options(reward_type, distance_threshold)
        self.reward_type, self.distance_threshold = reward_type, distance_threshold
        self.goal_observation_space = goal_space(self.goal_size, num_features)
        flat = gymnasium.spaces.flatten_space(self.goal_observation_space)
        assert isinstance(flat, Box)
        self.observation_space = flat

    @abstractmethod
    def achieved_goal(self, state: Tensor) -> Tensor:
        """Where what is to be moved is in `state` [N, S]: [N, G] m."""

    @abstractmethod
    def features(self, state: Tensor) -> Tensor:
        """What else is seen of `state` [N, S], the "observation" of the dictionary: [N, F]."""

    def desired_goal(self, state: Tensor) -> Tensor:
        """Where it should be: [N, G] m."""
        return self.split(state)[0][:, -self.goal_size :]

    def info(self, state: Tensor) -> dict[str, Tensor]:
        """What Gymnasium's environment says beside, [N] each: "is_success"."""
        return {"is_success": distance(self.achieved_goal(state), self.desired_goal(state)) < self.distance_threshold}

    def compute_reward(self, achieved_goal: Tensor, desired_goal: Tensor, info: Mapping[str, Any]) -> Tensor:
        """Reward of having reached one goal when the other was wanted.

        Args:
            achieved_goal: [..., G].
            desired_goal: [..., G].
            info: of the step; not needed.

        Returns: [...].
        """
        gap = distance(achieved_goal, desired_goal)
        return -gap if self.reward_type == "dense" else (gap < self.distance_threshold).to(gap) - 1.0

    def observation(self, state: Tensor) -> Tensor:
        """Achieved goal, desired goal, and the rest: [N, O]."""
        return torch.cat([self.achieved_goal(state), self.desired_goal(state), self.features(state)], dim=1)

    def reward(self, state: Tensor, action: Tensor, next_state: Tensor) -> Tensor:
        """`compute_reward` of `next_state` [N, S]: [N]."""
        goals = self.achieved_goal(next_state), self.desired_goal(next_state)
        return self.compute_reward(*goals, self.info(next_state))

    def terminal(self, state: Tensor) -> Tensor:
        """Never."""
        return torch.zeros(len(state), dtype=torch.bool, device=state.device)

    def uniform_in_ring(self, inner: float, outer: float, generator: torch.Generator) -> Tensor:
        """Points between two circles around the origin, uniform in area: [N, 2] m."""
        share = (self.uniform(1, 1.0, generator) + 1) / 2
        radius = (inner**2 + (outer**2 - inner**2) * share).sqrt()
        angle = self.uniform(1, torch.pi, generator)
        return radius * torch.cat([angle.cos(), angle.sin()], dim=1)


def distance(achieved_goal: Tensor, desired_goal: Tensor) -> Tensor:
    """How far the goals [..., G] are from each other: [...] m."""
    return torch.linalg.vector_norm(achieved_goal - desired_goal, dim=-1)


def goal_space(goal_size: int, num_features: int) -> Dict:
    """The observation space of a goal environment."""
    goal = unbounded(goal_size)
    return Dict({"achieved_goal": goal, "desired_goal": goal, "observation": unbounded(num_features)})


def check_goal_options(reward_type: str, distance_threshold: float) -> None:
    """Refuses values out of range.

    Raises: ValueError.
    """
    if reward_type not in REWARD_TYPES:
        raise ValueError(f"reward_type must be one of {', '.join(REWARD_TYPES)}, got {reward_type!r}")
    if not 0 < distance_threshold < float("inf"):
        raise ValueError(f"distance_threshold must be finite and > 0, got {distance_threshold}")
