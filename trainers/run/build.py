"""From the options of a run to what they describe: policy, MDP or vector environment, algorithm, evaluation."""

from __future__ import annotations

import difflib
import inspect
from typing import Any

import torch
from gymnasium.spaces import Space

import diffsim
from diffsim.engine.finite_difference import FiniteDifferenceMDP
from diffsim.engine.sharded import shard
from diffsim.mdp import MDP
from diffsim.policies import Policy
from diffsim.tasks import TASKS, Task
from diffsim.trainers.algorithm import Algorithm
from diffsim.trainers.errors import OptionError
from diffsim.trainers.experience.hindsight import HindsightReplay
from diffsim.trainers.experience.vector_env import ResumableEnv, make_env
from diffsim.trainers.run.arguments import (
    ALGORITHMS,
    POLICIES,
    RunOptions,
    choose,
    official_id,
    pick,
    takes_env,
    takes_policy,
)
from diffsim.trainers.run.evaluation import OfficialEvaluation, require_video
from diffsim.trainers.run.ranks import num_ranks
from diffsim.wrappers import NoisyReward


def build_policy(observation_space: Space, action_space: Space, options: RunOptions, values: dict[str, Any]) -> Policy:
    """The policy that the options describe, with weights drawn from their seed."""
    cls = choose("policy", options.policy, POLICIES)
    torch.manual_seed(options.seed)
    return cls(observation_space, action_space, **pick(values, cls))


def build_mdp(options: RunOptions) -> MDP:
    """The task that the options describe, with its noises, simulated or as a black box.

    Raises: OptionError if there is none of that name; ValueError or TypeError if a value is out of range.
    """
    if options.task not in TASKS:
        close = difflib.get_close_matches(options.task, TASKS, n=1)
        meant = f"; did you mean {close[0]}?" if close else ""
        raise OptionError(f"task must be one of {', '.join(TASKS)}, got {options.task!r}{meant}")
    mdp = task = diffsim.make(
        options.task,
        num_envs=options.num_envs // num_ranks(),
        device=options.device,
        process_noise=options.process_noise,
        **{**options.task_kwargs, **options.training_kwargs},
    )
    if not isinstance(task, Task):
        raise OptionError("reward_noise must stand beside task_kwargs and training_kwargs, got it within")
    if num_ranks() > 1:
        mdp = shard(task)
    elif options.dynamics == "finite_differences":
        mdp = FiniteDifferenceMDP(task, num_workers=options.num_workers)
    return NoisyReward(mdp, options.reward_noise) if options.reward_noise else mdp


def build(options: RunOptions, values: dict[str, Any]) -> Algorithm:
    """The algorithm that the options describe, ready to train.

    Raises: ValueError or TypeError if a value is out of range.
    """
    devices = ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
    if options.device not in [*devices, *(["cuda"] if len(devices) > 1 else [])]:
        raise OptionError(f"device must be one of {', '.join(devices)}, got {options.device!r}")
    if options.video:
        require_video()
    cls = choose("algorithm", options.algorithm, ALGORITHMS)
    if num_ranks() > 1:
        require_shareable(options, cls)
    torch.set_num_threads(options.threads)
    if takes_env(cls):
        if options.dynamics != "simulator":
            raise OptionError(f"dynamics must be simulator for {options.algorithm}, got {options.dynamics!r}")
        env = make_env(
            options.task,
            options.num_envs,
            seed=options.seed,
            device=options.device,
            process_noise=options.process_noise,
            reward_noise=options.reward_noise,
            **{**options.task_kwargs, **options.training_kwargs},
        )
        if not takes_policy(cls):
            return cls(env, **shared_arguments(options), **pick(values, cls))
        spaces = env.single_observation_space, env.single_action_space
        policy = build_policy(*spaces, options, values).to(options.device, diffsim.dtype)
        replay = hindsight_replay(env, cls, options, values)
        return cls(env, policy, **replay, **shared_arguments(options), **pick(values, cls))
    if options.goal_strategy is not None:
        raise OptionError(f"goal_strategy must be null for {options.algorithm}, got {options.goal_strategy!r}")
    mdp = build_mdp(options)
    policy = build_policy(mdp.observation_space, mdp.action_space, options, values).to(mdp.device, mdp.dtype)
    return cls(mdp, policy, **shared_arguments(options), **pick(values, cls))


def require_shareable(options: RunOptions, cls: type) -> None:
    """Several ranks can share a pathwise algorithm's worlds, in equal parts, on the simulator.

    Raises: OptionError for anything else.
    """
    shared = f"to be shared by {num_ranks()} ranks"
    if takes_env(cls):
        raise OptionError(f"algorithm must learn through the simulator {shared}, got {options.algorithm!r}")
    if options.dynamics != "simulator":
        raise OptionError(f"dynamics must be simulator {shared}, got {options.dynamics!r}")
    if options.num_envs % num_ranks():
        raise OptionError(f"num_envs must be a multiple of {num_ranks()} {shared}, got {options.num_envs}")


def hindsight_replay(env: ResumableEnv, cls: type, options: RunOptions, values: dict[str, Any]) -> dict[str, Any]:
    """The replay that the options ask for, as an argument of the algorithm; none if it is the algorithm's own.

    Raises: OptionError if the algorithm keeps no experience; ValueError if the task has no goals.
    """
    if options.goal_strategy is None:
        return {}
    if "replay" not in inspect.signature(cls).parameters:
        raise OptionError(f"goal_strategy must be null for {options.algorithm}, got {options.goal_strategy!r}")
    shared = {"device": torch.device(options.device), "dtype": diffsim.dtype}
    chosen = {"goal_strategy": options.goal_strategy, "relabel_fraction": options.relabel_fraction}
    own = {name: values[name] for name in ("gamma", "num_steps")}
    return {"replay": HindsightReplay.of(env, values["replay_size"], **chosen, **own, **shared)}


def shared_arguments(options: RunOptions) -> dict[str, Any]:
    """What every algorithm's constructor takes beside its world, its policy and its own options."""
    evaluation = official_evaluation(options, options.evaluate_episodes, stochastic=options.evaluate_stochastic)
    return {"seed": options.seed, "evaluation": evaluation}


def official_evaluation(
    options: RunOptions, episodes: int, seed: int = 0, *, stochastic: bool = False
) -> OfficialEvaluation:
    """Episodes of the task in Gymnasium, whoever simulated it in training."""
    return OfficialEvaluation(official_id(options.task), options.task_kwargs, episodes, seed, stochastic)
