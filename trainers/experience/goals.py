"""Environments with goals: flattened observations, and the reward for reaching a goal."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import gymnasium
import numpy as np
import torch
from gymnasium.spaces import Dict
from gymnasium.wrappers import TransformObservation
from torch import Tensor

from diffsim.gym import GoalVectorEnv
from diffsim.policies import Observations
from diffsim.trainers.experience.single_env import single_env

ACHIEVED, DESIRED = "achieved_goal", "desired_goal"
OfGoals = Callable[[Tensor, Tensor], Tensor]


class Goals(NamedTuple):
    """Columns of the goals in a flat observation, and the reward for reaching one.

    Attributes:
        achieved: columns of the achieved goal.
        desired: columns of the desired goal.
        reward: maps both goals [B, G] to the environment's rewards [B].
        terminated: maps both goals to whether the episode terminates, 0 or 1 [B]; None if goals do not matter.
    """

    achieved: slice
    desired: slice
    reward: OfGoals
    terminated: OfGoals | None = None


def make_official(task: str, **kwargs: Any) -> gymnasium.Env:
    """The environment in which policies of a task are evaluated (`single_env`); it shows vectors or images.

    Raises: gymnasium.error.Error if Gymnasium has no environment of that id; ValueError if `task` names a module that
    cannot be found, or has no such task, or its observations cannot be vectors or images.
    """
    register_extras(task)
    env = single_env(task, **kwargs)
    seen = Observations(env.observation_space)
    return env if seen.space is seen.given else TransformObservation(env, seen.flat, seen.space)


def register_extras(task: str) -> None:
    """Registers the tasks of the `robotics` extra if it is installed and `task` may be one of them."""
    name = "gymnasium_robotics"
    if name in sys.modules or (":" not in task and task not in gymnasium.registry and importlib.util.find_spec(name)):
        from diffsim.trainers.experience.robotics import register

        register()


def find_goals(env: gymnasium.vector.VectorEnv) -> Goals:
    """The goals of a vector environment, whose observations may have been flattened.

    Its `compute_reward(achieved_goal, desired_goal, info)`, and `compute_terminated` if it has one, are called with
    many goals at once and with an empty `info`.

    Raises: ValueError if its observations have no goals, or its rewards depend on more than the goals.
    """
    inner = env.unwrapped
    space = inner.single_observation_space
    if not isinstance(space, Dict) or not {ACHIEVED, DESIRED} <= set(space.keys()):
        raise ValueError(
            f"goal_strategy needs an environment whose observations have an {ACHIEVED} and a {DESIRED}, got {space}"
        )
    columns = Observations(space).columns
    goals = Goals(columns[ACHIEVED], columns[DESIRED], *_functions(inner))
    try:
        goals.reward(*torch.zeros(2, 3, columns[DESIRED].stop - columns[DESIRED].start))
    except KeyError as error:
        raise ValueError(
            f"goal_strategy needs rewards that depend on the goals alone, got one that depends on info[{error}]"
        ) from None
    return goals


def _functions(env: gymnasium.vector.VectorEnv) -> tuple[OfGoals, OfGoals | None]:
    """Functions of both goals [B, G]: rewards and, if they depend on goals, terminations."""
    if isinstance(env, GoalVectorEnv):
        task = env.task
        return (lambda achieved, desired: task.compute_reward(achieved, desired, {})), None
    first = getattr(env, "envs", [env])[0].unwrapped
    if not hasattr(first, "compute_reward"):
        raise ValueError(f"goal_strategy needs an environment with a compute_reward, got {type(first).__name__}")
    ends = getattr(first, "compute_terminated", None)
    return _by_numpy(first.compute_reward), None if ends is None else _by_numpy(ends)


def _by_numpy(function: Callable[[np.ndarray, np.ndarray, Mapping[str, Any]], Any]) -> OfGoals:
    """Makes a function of arrays one of tensors, [B, G] to [B]. It is called row by row if it accepts only one row."""

    def call(achieved: Tensor, desired: Tensor) -> Tensor:
        pair = achieved.double().cpu().numpy(), desired.double().cpu().numpy()
        result = np.asarray(function(*pair, {}))
        if result.shape != (len(achieved),):
            result = np.array([function(*row, {}) for row in zip(*pair, strict=True)])
        return torch.as_tensor(result).to(achieved)

    return call
