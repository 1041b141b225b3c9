"""Options of `diffsim gradients`, and the policy that they describe."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

import diffsim
from diffsim.mdp import MDP
from diffsim.policies import DeterministicMLP, GaussianMLP
from diffsim.tasks.find import mdp_class
from diffsim.trainers.errors import OptionError, option_errors
from diffsim.trainers.options import check_fields
from diffsim.trainers.run.arguments import RunOptions, pick
from diffsim.trainers.run.collect_command import trained_policy
from diffsim.trainers.run.run_folder import existing_folder, read_yaml


@dataclass(frozen=True)
class GradientOptions:
    """A comparison of estimators of the policy gradient.

    Args:
        task: id of a task; `diffsim tasks` lists them. my_module:MyTask-v0 is your own task in my_module.py.
        policy: "random" for a Gaussian perceptron with initial weights, or the folder of a run.
        horizons: lengths of the roll-outs, increasing, separated by commas; 1,2,4,... up to 64, or to the length of an
            episode, if None.
        seeds: of weights and noise, separated by commas; each repeats the whole comparison.
        samples: number of samples of each estimator at each horizon, a multiple of num_envs.
        reference_samples: number of samples of the likelihood ratio that is the reference, a multiple of num_envs.
        num_envs: samples per batch, at least 4; cosine and error are reported for the mean of a batch.
        gamma: discount, in (0, 1].
        window: steps per window of the estimator with a value, at least 1.
        difference_step: step length of finite differences, in parameter space, above 0.
        std: standard deviation of the actions before squashing, above 0, for random and deterministic policies.
        hidden_sizes: widths of the hidden layers of a random policy.
        process_noise: process noise of the environment, see `diffsim.make`; at least 0.
        task_kwargs: options of the environment, as in Gymnasium.
        device: device of simulation and networks, such as cpu or cuda.
        threads: CPU threads of torch, at least 1.
        output: folder of the table and the picture; runs/gradients-TASK if None. If it exists, a number is appended.
    """

    task: str
    policy: str = "random"
    horizons: str | None = None
    seeds: str = "0"
    samples: int = 2048
    reference_samples: int = 16384
    num_envs: int = 256
    gamma: float = 0.99
    window: int = 8
    difference_step: float = 0.1
    std: float = 0.5
    hidden_sizes: Sequence[int] = (64, 64)
    process_noise: float = 0.0
    task_kwargs: dict[str, Any] = field(default_factory=dict)
    device: str = "cpu"
    threads: int = 1
    output: str | None = None

    def __post_init__(self) -> None:
        try:
            longest = mdp_class(self.task).max_episode_steps
        except (ValueError, TypeError) as error:
            raise OptionError(f"task: {error}") from None
        check_fields(self, {"num_envs": ">= 4", "window": ">= 1", "threads": ">= 1", "gamma": "in (0, 1]"})
        check_fields(self, {"difference_step": "> 0", "std": "> 0", "process_noise": ">= 0"})
        for name in ("samples", "reference_samples"):
            count = getattr(self, name)
            if count < self.num_envs or count % self.num_envs:
                raise OptionError(f"{name} must be a multiple of num_envs ({self.num_envs}), got {count}")
        horizons = self.horizon_list
        if horizons != sorted(set(horizons)) or not 1 <= horizons[0] <= horizons[-1] <= longest:
            raise OptionError(f"horizons must increase, from 1 or more to at most {longest}, got {self.horizons!r}")
        if min(self.seed_list) < 0:
            raise OptionError(f"seeds must be >= 0, got {self.seeds!r}")

    @property
    def horizon_list(self) -> list[int]:
        """The horizons as numbers."""
        if self.horizons is None:
            return [2**k for k in range(7) if 2**k <= mdp_class(self.task).max_episode_steps]
        return _numbers("horizons", self.horizons)

    @property
    def seed_list(self) -> list[int]:
        """The seeds as numbers."""
        return _numbers("seeds", self.seeds)

    @property
    def folder(self) -> Path:
        """Output folder, before a number is appended."""
        return Path(self.output or f"runs/gradients-{re.sub('[/:]', '-', self.task)}")


def build(options: GradientOptions) -> tuple[MDP, dict[int, GaussianMLP]]:
    """The environment and, for each seed, the policy that the options describe.

    Raises: OptionError if the run does not exist, or a constructor refuses an option; CheckpointError if the run's
    checkpoint cannot be read.
    """
    noise = {"process_noise": options.process_noise} if options.process_noise else {}
    keywords = {"num_envs": options.num_envs, "device": options.device, **options.task_kwargs, **noise}
    with option_errors():
        mdp = diffsim.make(options.task, **keywords)
        return mdp, {seed: make_policy(options, mdp, seed).to(mdp.device, mdp.dtype) for seed in options.seed_list}


def make_policy(options: GradientOptions, mdp: MDP, seed: int) -> GaussianMLP:
    """The policy to measure: with initial weights from `seed`, or from a run.

    A deterministic policy gets noise of standard deviation `options.std` before squashing, because the likelihood ratio
    needs a density.
    """
    if options.policy == "random":
        torch.manual_seed(seed)
        spaces = (mdp.observation_space, mdp.action_space)
        return GaussianMLP(*spaces, hidden_sizes=options.hidden_sizes, initial_std=options.std)
    folder = existing_folder("policy", options.policy)
    values = read_yaml(folder.config)
    run = RunOptions(**pick(values, RunOptions))
    if run.task != options.task:
        raise OptionError(f"policy must be a run of {options.task}, got one of {run.task} in {options.policy!r}")
    policy = trained_policy(options.policy, mdp.observation_space, mdp.action_space)
    if isinstance(policy, DeterministicMLP):
        return with_noise(policy, mdp, pick(values, DeterministicMLP), options.std)
    if not isinstance(policy, GaussianMLP):
        raise OptionError(
            f"policy must be a run of GaussianMLP or DeterministicMLP, got one of {type(policy).__name__} "
            f"in {options.policy!r}"
        )
    return policy


def with_noise(policy: DeterministicMLP, mdp: MDP, kwargs: dict[str, Any], std: float) -> GaussianMLP:
    """A Gaussian policy with the network of a deterministic one as its mean, and a fixed standard deviation."""
    noisy = GaussianMLP(mdp.observation_space, mdp.action_space, **kwargs, std="fixed", initial_std=std)
    noisy.load_state_dict({**policy.state_dict(), "log_std": noisy.log_std})
    return noisy


def _numbers(option: str, text: str) -> list[int]:
    try:
        return [int(word) for word in text.split(",")]
    except ValueError:
        raise OptionError(f"{option} must be whole numbers separated by commas, got {text!r}") from None
