"""Gymnasium's MuJoCo environments, and tasks of our own, as differentiable MDPs, one file each."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any, overload

import torch

from diffsim.mdp import MDP
from diffsim.tasks.ant import Ant
from diffsim.tasks.cart_pole_swing_up import CartPoleSwingUp
from diffsim.tasks.goal_task import GoalTask
from diffsim.tasks.half_cheetah import HalfCheetah
from diffsim.tasks.hopper import Hopper
from diffsim.tasks.humanoid import Humanoid
from diffsim.tasks.humanoid_standup import HumanoidStandup
from diffsim.tasks.inverted_double_pendulum import InvertedDoublePendulum
from diffsim.tasks.inverted_pendulum import InvertedPendulum
from diffsim.tasks.point_push import PointPush
from diffsim.tasks.pusher import Pusher
from diffsim.tasks.reacher import Reacher
from diffsim.tasks.reacher_goal import ReacherGoal
from diffsim.tasks.swimmer import Swimmer
from diffsim.tasks.task import Task
from diffsim.tasks.walker2d import Walker2d
from diffsim.wrappers import NoisyReward, check_std

__all__ = [
    "TASKS",
    "Ant",
    "CartPoleSwingUp",
    "GoalTask",
    "HalfCheetah",
    "Hopper",
    "Humanoid",
    "HumanoidStandup",
    "InvertedDoublePendulum",
    "InvertedPendulum",
    "PointPush",
    "Pusher",
    "Reacher",
    "ReacherGoal",
    "Swimmer",
    "Task",
    "Walker2d",
    "make",
]

TASKS: dict[str, type[Task]] = {
    "Ant-v5": Ant,
    "CartPoleSwingUp-v0": CartPoleSwingUp,
    "HalfCheetah-v5": HalfCheetah,
    "Hopper-v5": Hopper,
    "Humanoid-v5": Humanoid,
    "HumanoidStandup-v5": HumanoidStandup,
    "InvertedDoublePendulum-v5": InvertedDoublePendulum,
    "InvertedPendulum-v5": InvertedPendulum,
    "PointPush-v0": PointPush,
    "Pusher-v5": Pusher,
    "Reacher-v5": Reacher,
    "ReacherGoal-v0": ReacherGoal,
    "Swimmer-v5": Swimmer,
    "Walker2d-v5": Walker2d,
}
"""Every task by its Gymnasium id."""


@overload
def make(
    id: str,
    num_envs: int = 1,
    device: str | torch.device = "cpu",
    *,
    process_noise: float | Sequence[float] = 0.0,
    reward_noise: float,
    **kwargs: Any,
) -> MDP: ...


@overload
def make(
    id: str,
    num_envs: int = 1,
    device: str | torch.device = "cpu",
    *,
    process_noise: float | Sequence[float] = 0.0,
    **kwargs: Any,
) -> Task: ...


def make(
    id: str,
    num_envs: int = 1,
    device: str | torch.device = "cpu",
    *,
    process_noise: float | Sequence[float] = 0.0,
    reward_noise: float = 0.0,
    **kwargs: Any,
) -> MDP:
    """Makes N differentiable copies of a Gymnasium MuJoCo environment.

    Args:
        id: Gymnasium's id, one of `TASKS`.
        num_envs: number of copies, N >= 1.
        device: where to simulate, such as "cpu" or "cuda".
        process_noise: standard deviation of a random generalized force on each dof, held for a step; one
            number, or nv of them, N and N m, >= 0 (`Task.set_process_noise`).
        reward_noise: standard deviation of noise on each step's reward, >= 0 (`NoisyReward`).
        **kwargs: the options of Gymnasium's environment of that id, except those that concern rendering.

    Returns: the MDP, with Gymnasium's observations, rewards, termination and reset distribution: a `Task`, within
    a `NoisyReward` if its rewards are noisy.

    Raises:
        ValueError: id is unknown, or an argument is out of range.
        TypeError: an option is unknown.
    """
    if id not in TASKS:
        raise ValueError(f"id must be one of {', '.join(TASKS)}; got {id!r}")
    options = [name for name in inspect.signature(TASKS[id]).parameters if name not in ("num_envs", "device")]
    unknown = [name for name in kwargs if name not in options]
    if unknown:
        raise TypeError(f"options of {id} must be among {', '.join(options)}; got {', '.join(unknown)}")
    check_std("reward_noise", reward_noise)
    task = TASKS[id](num_envs=num_envs, device=device, **kwargs)
    task.set_process_noise(process_noise)
    return NoisyReward(task, reward_noise) if reward_noise else task
