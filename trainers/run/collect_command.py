"""`diffsim collect`: records transitions of a policy on disk."""

from __future__ import annotations

import torch
from gymnasium.spaces import Box, Space
from rich.console import Console

import diffsim
from diffsim.models import save_data
from diffsim.policies import Policy
from diffsim.trainers.errors import OptionError
from diffsim.trainers.experience.vector_env import make_env
from diffsim.trainers.model_based.collection import UniformActor, collect_data
from diffsim.trainers.run.arguments import RunOptions, official_id, pick
from diffsim.trainers.run.build import build_policy
from diffsim.trainers.run.checkpoint import load_weights, read_checkpoint
from diffsim.trainers.run.model_arguments import CollectOptions
from diffsim.trainers.run.run_folder import existing_folder
from diffsim.trainers.run.summary import print_table


def collect_command(options: CollectOptions, console: Console) -> None:
    """Records data, and prints a summary.

    Raises: OptionError if the task or the policy is not valid, the environment returns non-finite numbers, or there are
    too few episodes for a validation split. Nothing is written then.
    """
    env = make_env(options.task, options.num_envs, seed=options.seed, **options.task_kwargs)
    observation_space = vector_box("observations", env.single_observation_space, options.task)
    action_space = vector_box("actions", env.single_action_space, options.task)
    like = torch.zeros(0, dtype=diffsim.dtype)
    generator = torch.Generator().manual_seed(options.seed)
    try:
        actor: UniformActor | Policy = UniformActor(action_space, like)
        if options.policy != "random":
            actor = trained_policy(options.policy, observation_space, action_space).to(like)
        deterministic = options.deterministic and options.policy != "random"
        data, _ = collect_data(env, actor, options.steps, generator, like, deterministic=deterministic)
        save_data(
            options.folder,
            data,
            observation_space=observation_space,
            action_space=action_space,
            task=official_id(options.task),
            task_kwargs=options.task_kwargs,
            policy=options.policy,
            validation_share=options.validation_share,
            seed=options.seed,
        )
    except ValueError as error:
        raise OptionError(str(error)) from error
    rows = {
        "transitions": f"{len(data):,}",
        "episodes": f"{len(data.episode.unique()):,}",
        "reward per step": f"{float(data.reward.mean()):.3f} ± {float(data.reward.std(correction=0)):.3f}",
        "data": str(options.folder),
    }
    print_table(f"{options.task}, {options.policy} policy, seed {options.seed}", rows, console)


def vector_box(what: str, space: Space, task: str) -> Box:
    """Returns `space`.

    Raises: OptionError if it is not a vector Box.
    """
    if not isinstance(space, Box) or len(space.shape) != 1:
        raise OptionError(f"{what} of the task must be a vector Box, got {space} of {task}")
    return space


def trained_policy(run: str, observation_space: Space, action_space: Space) -> Policy:
    """The policy of a run.

    Raises: OptionError or CheckpointError if there is no such run, or its policy does not fit the spaces.
    """
    folder = existing_folder("policy", run)
    values = folder.read_config()
    policy = build_policy(observation_space, action_space, RunOptions(**pick(values, RunOptions)), values)
    load_weights(policy, read_checkpoint(folder.checkpoint), "policy.", folder.checkpoint)
    return policy
