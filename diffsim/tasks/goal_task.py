"""Base class of tasks with a goal, which is drawn anew in each episode."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from functools import cached_property
from typing import Any, Literal

import gymnasium
import numpy as np
import torch
from gymnasium.spaces import Box, Dict
from torch import Tensor

from diffsim.checks import check_choice, check_value
from diffsim.mdp import MDP
from diffsim.options import option
from diffsim.tasks.task import Task, unbounded
from diffsim.wrappers import MDPWrapper


class GoalTask(Task):
    """Move something to a goal, a position in the plane. Never terminal.

    The goal is the position of two slides, the last ones of the model, which nothing moves: it is part of qpos, so of
    the state and of scenarios. The observation is the one that Gymnasium makes when it flattens a goal environment's
    dictionary, in the order of the names:

        [achieved_goal, desired_goal, observation]

    so that a function of it is universal: V(s, g), pi(s, g).

    Rewards are a function of both goals. Sparse: 0 where their distance is below `distance_threshold`, else -1. Dense:
    minus the distance, which has a gradient for pathwise methods.

    A goal task defines `reset_model`, `achieved_goal` and `features`.

    Attributes:
        goal_size: numbers in a goal.
        goal_observation_space: of one copy, the dictionary.
    """

    max_episode_steps = 50
    goal_size = 2
    reward_type: Literal["sparse", "dense"] = option('"sparse" or "dense".', default="sparse")
    distance_threshold: float = option("distance below which the goal is reached, m.", "finite and > 0", default=0.05)

    @cached_property
    def goal_observation_space(self) -> Dict:
        """The dictionary of one copy."""
        with torch.no_grad():
            return goal_space(self.goal_size, self.features(self.rest_state()).shape[1])

    @cached_property
    def observation_space(self) -> Box:
        """The dictionary's space as Gymnasium flattens it."""
        flat = gymnasium.spaces.flatten_space(self.goal_observation_space)
        assert isinstance(flat, Box)
        return flat

    @abstractmethod
    def achieved_goal(self, state: Tensor) -> Tensor:
        """Position in `state` [N, S] of what is moved to the goal: [N, G] m."""

    @abstractmethod
    def features(self, state: Tensor) -> Tensor:
        """The other observed quantities of `state` [N, S], "observation" in the dictionary: [N, F]."""

    def desired_goal(self, state: Tensor) -> Tensor:
        """The goal: [N, G] m."""
        return self.split(state)[0][:, -self.goal_size :]

    def info(self, state: Tensor) -> dict[str, Tensor]:
        """The info of Gymnasium's environment, [N] each: "is_success"."""
        return {"is_success": distance(self.achieved_goal(state), self.desired_goal(state)) < self.distance_threshold}

    def compute_reward(self, achieved_goal: Tensor, desired_goal: Tensor, info: Mapping[str, Any]) -> Tensor:
        """Reward of a step that reached `achieved_goal` when the goal was `desired_goal`.

        Args:
            achieved_goal: [..., G].
            desired_goal: [..., G].
            info: of the step; this class does not read it.

        Returns: [...].
        """
        gap = distance(achieved_goal, desired_goal)
        return -gap if self.reward_type == "dense" else (gap < self.distance_threshold).to(gap) - 1.0

    def reward_of_arrays(self, achieved_goal: Any, desired_goal: Any, info: Mapping[str, Any]) -> Any:
        """`compute_reward` with NumPy arrays in and out."""
        achieved, desired = torch.as_tensor(np.asarray(achieved_goal)), torch.as_tensor(np.asarray(desired_goal))
        infos = {name: torch.as_tensor(np.asarray(value)) for name, value in info.items()}
        return self.compute_reward(achieved, desired, infos).numpy()

    def split_goals(self, obs: np.ndarray) -> dict[str, np.ndarray]:
        """Flat observations [..., O] as the dictionary of a goal environment."""
        parts = np.split(obs, [self.goal_size, 2 * self.goal_size], axis=-1)
        return dict(zip(("achieved_goal", "desired_goal", "observation"), parts, strict=True))

    def observation(self, state: Tensor) -> Tensor:
        """Achieved goal, desired goal and features: [N, O]."""
        return torch.cat([self.achieved_goal(state), self.desired_goal(state), self.features(state)], dim=1)

    def reward(self, state: Tensor, action: Tensor, next_state: Tensor) -> Tensor:
        """`compute_reward` of `next_state` [N, S]: [N]."""
        goals = self.achieved_goal(next_state), self.desired_goal(next_state)
        return self.compute_reward(*goals, self.info(next_state))

    def uniform_in_ring(self, inner: float, outer: float, generator: torch.Generator) -> Tensor:
        """Points between two circles around the origin, uniform in area: [N, 2] m."""
        share = (self.uniform(1, 1.0, generator) + 1) / 2
        radius = (inner**2 + (outer**2 - inner**2) * share).sqrt()
        angle = self.uniform(1, torch.pi, generator)
        return radius * torch.cat([angle.cos(), angle.sin()], dim=1)


def distance(achieved_goal: Tensor, desired_goal: Tensor) -> Tensor:
    """Distance between goals [..., G]: [...] m."""
    return torch.linalg.vector_norm(achieved_goal - desired_goal, dim=-1)


def goal_task(mdp: MDP) -> GoalTask | None:
    """The goal task that an MDP is, or that it wraps; None if there is none."""
    while isinstance(mdp, MDPWrapper):
        mdp = mdp.mdp
    return mdp if isinstance(mdp, GoalTask) else None


def goal_space(goal_size: int, num_features: int) -> Dict:
    """The observation space of a goal environment."""
    goal = unbounded(goal_size)
    return Dict({"achieved_goal": goal, "desired_goal": goal, "observation": unbounded(num_features)})


def check_goal_options(reward_type: str, distance_threshold: float) -> None:
    """Raises ValueError for a value out of range."""
    check_choice("reward_type", reward_type, ("sparse", "dense"))
    check_value("distance_threshold", distance_threshold, "finite and > 0")
