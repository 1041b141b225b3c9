"""Builds the policy, MDP or vector environment, algorithm and evaluation that the options of a run describe."""

from __future__ import annotations

import inspect
from typing import Any

import gymnasium
import torch
from gymnasium.spaces import Space

import diffsim
from diffsim.checks import did_you_mean
from diffsim.engine.finite_difference import FiniteDifferenceMDP
from diffsim.engine.sharded import shard
from diffsim.mdp import MDP
from diffsim.policies import Policy
from diffsim.policies.squash import has_choices
from diffsim.tasks import PartialObservation, Task, find_task, task_ids
from diffsim.trainers.algorithm import Algorithm, refuse_memory
from diffsim.trainers.errors import OptionError
from diffsim.trainers.experience.goals import make_official
from diffsim.trainers.experience.hindsight import HindsightReplay
from diffsim.trainers.experience.vector_env import ResumableEnv, make_env
from diffsim.trainers.run.arguments import RunOptions, official_id, pick, with_budget
from diffsim.trainers.run.evaluation import OfficialEvaluation, require_video
from diffsim.trainers.run.ranks import num_ranks
from diffsim.trainers.run.registry import ALGORITHMS, POLICIES, choose, takes_env, takes_policy
from diffsim.wrappers import NoisyReward


def build_policy(observation_space: Space, action_space: Space, options: RunOptions, values: dict[str, Any]) -> Policy:
    """The policy that the options describe, with weights drawn from their seed."""
    cls = choose("policy", options.policy, POLICIES)
    torch.manual_seed(options.seed)
    return cls(observation_space, action_space, **pick(values, cls))


def build_mdp(options: RunOptions) -> MDP:
    """The task that the options describe, with noise, on the simulator or on black-box dynamics.

    Raises: OptionError if there is no such task; ValueError or TypeError if a value is out of range.
    """
    if find_task(options.task) is None:
        valid = task_ids()
        if options.task in gymnasium.registry:
            suited = ", ".join(suited_algorithms(options))
            raise OptionError(
                f"algorithm must be one that needs no derivatives, such as {suited}, for {options.task}, which the "
                f"simulator does not have; got {options.algorithm!r}"
            )
        hint = did_you_mean(options.task, valid)
        raise OptionError(f"task must be one of {', '.join(valid)}, or my_module:MyTask-v0, got {options.task!r}{hint}")
    own = {**options.task_kwargs, **options.training_kwargs}
    if own.get("reward_noise"):
        raise OptionError("reward_noise is an option of the run; remove it from task_kwargs and training_kwargs")
    partial = PartialObservation.pop(own)
    mdp = task = diffsim.make(
        options.task,
        num_envs=options.num_envs // num_ranks(),
        device=options.device,
        process_noise=options.process_noise,
        **own,
    )
    if num_ranks() > 1 or options.dynamics == "finite_differences":
        if not isinstance(task, Task):
            raise OptionError(
                f"ranks and finite differences need a MuJoCo model without randomize, got task {options.task!r}"
            )
        mdp = shard(task) if num_ranks() > 1 else FiniteDifferenceMDP(task, num_workers=options.num_workers)
    mdp = partial.mdp(mdp)
    return NoisyReward(mdp, options.reward_noise) if options.reward_noise else mdp


def suited_algorithms(options: RunOptions) -> list[str]:
    """Names of algorithms that learn any task with the kind of actions that this one has."""
    env = make_official(options.task, **options.task_kwargs)
    chosen = has_choices(env.action_space)
    env.close()
    return ["PPO", "TRPO", "SAC", "TD3", "MBPO"] if not chosen else ["PPO", "TRPO", "DQN", "A2C"]


def build(options: RunOptions, values: dict[str, Any]) -> Algorithm:
    """The algorithm that the options describe, ready to train.

    Raises: ValueError or TypeError if a value is out of range.
    """
    values = with_budget(values)
    check_device(options.device)
    if options.video:
        require_video()
    cls = choose("algorithm", options.algorithm, ALGORITHMS)
    if not issubclass(cls, Algorithm):
        raise OptionError(f"algorithm must be a subclass of diffsim.trainers.Algorithm, got {options.algorithm!r}")
    refuse_memory(cls, choose("policy", options.policy, POLICIES))
    if num_ranks() > 1:
        require_shareable(options, cls)
    torch.set_num_threads(options.threads)
    evaluation = official_evaluation(options, options.evaluate_episodes, stochastic=options.evaluate_stochastic)
    arguments = {"seed": options.seed, "evaluation": evaluation, **pick(values, cls)}
    if not takes_env(cls):
        if options.goal_strategy is not None:
            raise OptionError(f"goal_strategy must be null for {options.algorithm}, got {options.goal_strategy!r}")
        mdp = build_mdp(options)
        policy = build_policy(mdp.observation_space, mdp.action_space, options, values).to(mdp.device, mdp.dtype)
        return cls(mdp, policy, **arguments)
    env = build_env(options)
    if not takes_policy(cls):
        own = {"model_device": options.device} if "model_device" in cls.options else {}
        return cls(env, **own, **arguments)
    spaces = env.single_observation_space, env.single_action_space
    policy = build_policy(*spaces, options, values).to(options.device, diffsim.dtype)
    return cls(env, policy, **hindsight_replay(env, cls, options, values), **arguments)


def check_device(device: str) -> None:
    """Raises: OptionError if there is no such device."""
    devices = ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
    if device not in [*devices, *(["cuda"] if len(devices) > 1 else [])]:
        raise OptionError(f"device must be one of {', '.join(devices)}, got {device!r}")


def build_env(options: RunOptions) -> ResumableEnv:
    """The vector environment that the options describe, for algorithms that need no derivative.

    Raises: OptionError if there is no such task, or an option cannot be combined with it.
    """
    if options.dynamics != "simulator":
        raise OptionError(f"dynamics must be simulator for {options.algorithm}, got {options.dynamics!r}")
    return make_env(
        options.task,
        options.num_envs,
        seed=options.seed,
        device=options.device,
        process_noise=options.process_noise,
        reward_noise=options.reward_noise,
        **{**options.task_kwargs, **options.training_kwargs},
    )


def require_shareable(options: RunOptions, cls: type) -> None:
    """Checks that ranks can share the worlds: equal parts, a pathwise algorithm, and the simulator.

    Raises: OptionError otherwise.
    """
    shared = f"to be shared by {num_ranks()} ranks"
    if takes_env(cls):
        raise OptionError(f"algorithm must learn through the simulator {shared}, got {options.algorithm!r}")
    if options.dynamics != "simulator":
        raise OptionError(f"dynamics must be simulator {shared}, got {options.dynamics!r}")
    if options.num_envs % num_ranks():
        raise OptionError(f"num_envs must be a multiple of {num_ranks()} {shared}, got {options.num_envs}")


def hindsight_replay(env: ResumableEnv, cls: type, options: RunOptions, values: dict[str, Any]) -> dict[str, Any]:
    """The hindsight replay buffer, as an argument of the algorithm, if the options ask for one.

    Raises: OptionError if the algorithm has no replay buffer; ValueError if the task has no goals.
    """
    if options.goal_strategy is None:
        return {}
    if "replay" not in inspect.signature(cls).parameters:
        raise OptionError(f"goal_strategy must be null for {options.algorithm}, got {options.goal_strategy!r}")
    shared = {"device": torch.device(options.device), "dtype": diffsim.dtype}
    chosen = {"goal_strategy": options.goal_strategy, "relabel_fraction": options.relabel_fraction}
    own = {name: values[name] for name in ("gamma", "num_steps")}
    return {"replay": HindsightReplay.of(env, values["replay_size"], **chosen, **own, **shared)}


def official_evaluation(
    options: RunOptions, episodes: int, seed: int = 0, *, stochastic: bool = False
) -> OfficialEvaluation:
    """Evaluation in the environment on C MuJoCo, also where training uses other dynamics.

    Raises: OptionError if its options randomize the model.
    """
    if options.task_kwargs.get("randomize"):
        raise OptionError("randomize must be in training_kwargs: evaluation has the model's own parameters")
    return OfficialEvaluation(official_id(options.task), options.task_kwargs, episodes, seed, stochastic)
