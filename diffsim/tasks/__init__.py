"""Gymnasium's MuJoCo environments, and tasks of our own, as differentiable MDPs, one file each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, overload

import torch

from diffsim.checks import check_count, check_std, require
from diffsim.mdp import MDP
from diffsim.tasks.ant import Ant
from diffsim.tasks.cart_pole_gears import CartPoleGears
from diffsim.tasks.cart_pole_swing_up import CartPoleSwingUp
from diffsim.tasks.check import TaskReport, check_task
from diffsim.tasks.configurable import ConfigurableMDP
from diffsim.tasks.find import (
    EQUATION_TASKS,
    HYBRID_TASKS,
    RLLAB_TASKS,
    TASKS,
    check_options,
    find_task,
    mdp_class,
    task_ids,
)
from diffsim.tasks.g1.walk import G1Walk
from diffsim.tasks.go1.walk import Go1Walk
from diffsim.tasks.goal_task import GoalTask
from diffsim.tasks.half_cheetah import HalfCheetah
from diffsim.tasks.helicopter_hover import HelicopterHover
from diffsim.tasks.hopper import Hopper
from diffsim.tasks.humanoid import Humanoid
from diffsim.tasks.humanoid_standup import HumanoidStandup
from diffsim.tasks.inverted_double_pendulum import InvertedDoublePendulum
from diffsim.tasks.inverted_pendulum import InvertedPendulum
from diffsim.tasks.memory_task import MemoryTask
from diffsim.tasks.official import OfficialEnv, official_env
from diffsim.tasks.partial_observation import PartialObservation
from diffsim.tasks.point_push import PointPush
from diffsim.tasks.pusher import Pusher
from diffsim.tasks.random_model import RandomModelTask
from diffsim.tasks.randomized_model import RandomizedModel
from diffsim.tasks.reacher import Reacher
from diffsim.tasks.reacher_goal import ReacherGoal
from diffsim.tasks.swimmer import Swimmer
from diffsim.tasks.task import Task
from diffsim.tasks.walker2d import Walker2d
from diffsim.wrappers import NoisyReward

__all__ = [
    "EQUATION_TASKS",
    "HYBRID_TASKS",
    "RLLAB_TASKS",
    "TASKS",
    "Ant",
    "CartPoleGears",
    "CartPoleSwingUp",
    "ConfigurableMDP",
    "G1Walk",
    "Go1Walk",
    "GoalTask",
    "HalfCheetah",
    "HelicopterHover",
    "Hopper",
    "Humanoid",
    "HumanoidStandup",
    "InvertedDoublePendulum",
    "InvertedPendulum",
    "MemoryTask",
    "OfficialEnv",
    "PartialObservation",
    "PointPush",
    "Pusher",
    "RandomModelTask",
    "RandomizedModel",
    "Reacher",
    "ReacherGoal",
    "Swimmer",
    "Task",
    "TaskReport",
    "Walker2d",
    "check_task",
    "find_task",
    "make",
    "official_env",
    "task_ids",
]


@overload
def make(
    id: Literal["HelicopterHover-v0"] | type[HelicopterHover],
    num_envs: int = 1,
    device: str | torch.device = "cpu",
    **kwargs: Any,
) -> HelicopterHover: ...


@overload
def make(
    id: str | type[Task],
    num_envs: int = 1,
    device: str | torch.device = "cpu",
    *,
    process_noise: float | Sequence[float] = 0.0,
    reward_noise: Literal[0] = 0,
    positions_only: Literal[False] = False,
    observation_noise: Literal[0] = 0,
    action_delay: Literal[0] = 0,
    randomize: None = None,
    **kwargs: Any,
) -> Task: ...


@overload
def make(
    id: str | type[ConfigurableMDP],
    num_envs: int = 1,
    device: str | torch.device = "cpu",
    *,
    process_noise: float | Sequence[float] = 0.0,
    reward_noise: float = 0.0,
    positions_only: bool = False,
    observation_noise: float = 0.0,
    action_delay: int = 0,
    randomize: Mapping[str, Sequence[float]] | None = None,
    **kwargs: Any,
) -> MDP: ...


def make(
    id: str | type[ConfigurableMDP],
    num_envs: int = 1,
    device: str | torch.device = "cpu",
    *,
    process_noise: float | Sequence[float] = 0.0,
    reward_noise: float = 0.0,
    positions_only: bool = False,
    observation_noise: float = 0.0,
    action_delay: int = 0,
    randomize: Mapping[str, Sequence[float]] | None = None,
    max_episode_steps: int | None = None,
    **kwargs: Any,
) -> MDP:
    """Makes N differentiable copies of a task.

    Args:
        id: Gymnasium's id, one of `TASKS` or `EQUATION_TASKS`; `module:MyTask-v0`, the subclass `MyTask` of `Task` in
            an importable module; the id of a task that an installed package offers; or the class itself.
        num_envs: number of copies, N >= 1.
        device: where to simulate, such as "cpu" or "cuda".
        process_noise: standard deviation of a random generalized force on each dof, held for a step; one
            number, or nv of them, N and N m, >= 0 (`Task.set_process_noise`). It must be 0 for `EQUATION_TASKS`.
        reward_noise: standard deviation of noise on each step's reward, >= 0 (`NoisyReward`).
        positions_only: observe positions only (`PositionsOnly`), for tasks that name them.
        observation_noise: standard deviation of noise on each observed number, >= 0 (`NoisyObservation`).
        action_delay: steps by which actions are delayed, >= 0 and fewer than an episode has (`DelayedActions`).
        randomize: ranges of factors of physical parameters, drawn for every copy at each reset (`RandomizedModel`),
            such as {"geom_friction": (0.5, 1.5), "body_mass:torso": (0.8, 1.2)}; None for the model's own values.
        max_episode_steps: time limit of an episode, in actions, >= 1; None for the task's own.
        **kwargs: options of the task: those of Gymnasium's environment of that id, except rendering; for a task of
            your own, those of its constructor.

    Returns: a `Task`, or the class of `EQUATION_TASKS`, inside the wrappers that the options name. With Gymnasium's
    id it has the observations, rewards, termination and reset distribution of Gymnasium's environment.

    Raises:
        ValueError: id is unknown, or an argument is out of range.
        TypeError: an option is unknown.
    """
    cls = mdp_class(id)
    check_options(id, cls, kwargs)
    check_std("reward_noise", reward_noise)
    partial = PartialObservation(positions_only, observation_noise, action_delay)
    task = cls(num_envs=num_envs, device=device, **kwargs)
    if isinstance(task, Task):
        task.set_process_noise(process_noise)
    else:
        require(process_noise == 0.0, "process_noise", f"0 for {cls.__name__}, which is no MuJoCo model", process_noise)
    if max_episode_steps is not None:
        check_count("max_episode_steps", max_episode_steps)
        task.max_episode_steps = max_episode_steps
    mdp: MDP = task
    if randomize:
        require(isinstance(task, Task), "randomize", f"empty for {cls.__name__}, which is no MuJoCo model", randomize)
        mdp = RandomizedModel(task, randomize)  # pyright: ignore[reportArgumentType]
    mdp = partial.mdp(mdp)
    return NoisyReward(mdp, reward_noise) if reward_noise else mdp
