"""`diffsim collect`: records transitions of a policy on disk."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from gymnasium.spaces import Box, Space
from rich.console import Console

import diffsim
from diffsim.models import save_data
from diffsim.policies import Policy
from diffsim.trainers.errors import OptionError, option_errors
from diffsim.trainers.experience.vector_env import make_env
from diffsim.trainers.model_based.collection import UniformActor, collect_data
from diffsim.trainers.options import check_fields
from diffsim.trainers.run.arguments import RunOptions, official_id, pick, resolved
from diffsim.trainers.run.build import build_policy
from diffsim.trainers.run.checkpoint import load_weights, read_checkpoint
from diffsim.trainers.run.parsing import make_parser, parse
from diffsim.trainers.run.run_folder import existing_folder
from diffsim.trainers.run.summary import print_table


@dataclass(frozen=True)
class CollectOptions:
    """Options of `diffsim collect`.

    Args:
        task: any Gymnasium id whose spaces are vector Boxes, or diffsim/ID for our simulator.
        task_kwargs: options of the environment, as in Gymnasium.
        steps: env steps over all copies, at least 1.
        policy: "random" for uniformly random actions, or the folder of a run.
        deterministic: take the mean action, without noise, of the policy of a run.
        num_envs: number of copies, at least 1.
        seed: seed of the environment, the actions and the split, at least 0.
        validation_share: fraction of the episodes held out for validation, in (0, 1).
        output: folder of the data; data/TASK if None. It must not exist yet.
    """

    task: str
    steps: int
    task_kwargs: dict[str, Any] = field(default_factory=dict)
    policy: str = "random"
    deterministic: bool = False
    num_envs: int = 1
    seed: int = 0
    validation_share: float = 0.1
    output: str | None = None

    def __post_init__(self) -> None:
        check_fields(self, {"steps": ">= 1", "num_envs": ">= 1", "seed": ">= 0", "validation_share": "in (0, 1)"})
        if self.deterministic and self.policy == "random":
            raise OptionError("deterministic must be false for the random policy, got true")
        if self.folder.exists():
            raise OptionError(f"output must be a folder that does not exist yet, got {str(self.folder)!r}")

    @property
    def folder(self) -> Path:
        """Folder of the data."""
        return Path(self.output or f"data/{re.sub('[/:]', '-', self.task)}")


def collect_command(argv: Sequence[str], console: Console) -> None:
    """Records data by the options in `argv`, and prints a summary.

    Raises: OptionError if the task or the policy is not valid, the environment returns non-finite numbers, or there are
    too few episodes for a validation split. Nothing is written then.
    """
    parser = make_parser("collect", "Record transitions of an environment, as data for a model.", config=True)
    parser.add_class_arguments(CollectOptions)
    options = CollectOptions(**resolved(parse(parser, argv)))
    env = make_env(options.task, options.num_envs, seed=options.seed, **options.task_kwargs)
    observation_space = vector_box("observations", env.single_observation_space, options.task)
    action_space = vector_box("actions", env.single_action_space, options.task)
    like = torch.zeros(0, dtype=diffsim.dtype)
    generator = torch.Generator().manual_seed(options.seed)
    with option_errors():
        actor: UniformActor | Policy = UniformActor(action_space, like)
        if options.policy != "random":
            actor = trained_policy(options.policy, observation_space, action_space).to(like)
        data, _ = collect_data(env, actor, options.steps, generator, like, deterministic=options.deterministic)
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
