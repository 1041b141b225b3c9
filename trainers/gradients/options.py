"""What can be said to `diffsim gradients`, and the policy it measures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

import diffsim
from diffsim.mdp import MDP
from diffsim.policies import DeterministicMLP, GaussianMLP
from diffsim.tasks import TASKS
from diffsim.trainers.errors import OptionError, UsageError
from diffsim.trainers.run.arguments import RunOptions, pick, read_yaml
from diffsim.trainers.run.build import build_policy
from diffsim.trainers.run.checkpoint import load_weights, read_checkpoint
from diffsim.trainers.run.run_folder import existing_folder


@dataclass(frozen=True)
class GradientOptions:
    """A comparison of estimators of the policy gradient.

    Args:
        task: id of the environment; `diffsim tasks` lists them.
        policy: "random" for a Gaussian perceptron with fresh weights, or the folder of a run.
        horizons: lengths of the roll-outs, in increasing order, with commas between; 1,2,4,... up to 64, or to the
            episode's length, if None.
        seeds: of weights and noises, with commas between; every one repeats the whole comparison.
        samples: of each estimator at each horizon, a multiple of num_envs.
        reference_samples: of the likelihood ratio that the others are judged by, a multiple of num_envs.
        num_envs: samples taken at a time, at least 4; also the batch whose mean's cosine and error are told.
        gamma: discount, in (0, 1].
        window: steps after which the estimator with a value cuts its roll-out, at least 1.
        difference_step: length of the move in the parameters that finite differences make, above 0.
        std: deviation of the actions before squashing, above 0, for policies that have none: random and deterministic.
        hidden_sizes: widths of the hidden layers of a random policy.
        process_noise: of the environment, if above 0: passed on to `diffsim.make`.
        task_kwargs: options of the environment, those of Gymnasium.
        device: where to simulate and compute, such as cpu or cuda.
        threads: of torch on the CPU, at least 1.
        output: folder of table and picture; runs/gradients-TASK if None. If it exists, a number is added.
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
        if self.task not in TASKS:
            raise OptionError(f"task must be one of {', '.join(TASKS)}, got {self.task!r}")
        for name, least in {"num_envs": 4, "window": 1, "threads": 1}.items():
            if getattr(self, name) < least:
                raise OptionError(f"{name} must be >= {least}, got {getattr(self, name)}")
        for name in ("samples", "reference_samples"):
            count = getattr(self, name)
            if count < self.num_envs or count % self.num_envs:
                raise OptionError(f"{name} must be a multiple of num_envs ({self.num_envs}), got {count}")
        for name in ("difference_step", "std"):
            if not getattr(self, name) > 0:
                raise OptionError(f"{name} must be > 0, got {getattr(self, name)}")
        if not 0 < self.gamma <= 1:
            raise OptionError(f"gamma must be in (0, 1], got {self.gamma}")
        if not self.process_noise >= 0:
            raise OptionError(f"process_noise must be >= 0, got {self.process_noise}")
        horizons, longest = self.horizon_list, TASKS[self.task].max_episode_steps
        if horizons != sorted(set(horizons)) or not 1 <= horizons[0] <= horizons[-1] <= longest:
            raise OptionError(f"horizons must increase, from 1 or more to at most {longest}, got {self.horizons!r}")
        if min(self.seed_list) < 0:
            raise OptionError(f"seeds must be >= 0, got {self.seeds!r}")

    @property
    def horizon_list(self) -> list[int]:
        """The horizons as numbers."""
        if self.horizons is None:
            return [2**k for k in range(7) if 2**k <= TASKS[self.task].max_episode_steps]
        return _numbers("horizons", self.horizons)

    @property
    def seed_list(self) -> list[int]:
        """The seeds as numbers."""
        return _numbers("seeds", self.seeds)

    @property
    def folder(self) -> Path:
        """Where table and picture go, if nothing is there yet."""
        return Path(self.output or f"runs/gradients-{self.task}")


def build(options: GradientOptions) -> tuple[MDP, dict[int, GaussianMLP]]:
    """The environment and, for each seed, the policy that the options describe.

    Raises: OptionError if there is no such run, or one of the constructors refuses an option; CheckpointError if the
    run's checkpoint cannot be used.
    """
    noise = {"process_noise": options.process_noise} if options.process_noise else {}
    keywords = {"num_envs": options.num_envs, "device": options.device, **options.task_kwargs, **noise}
    try:
        mdp = diffsim.make(options.task, **keywords)
        return mdp, {seed: make_policy(options, mdp, seed).to(mdp.device, mdp.dtype) for seed in options.seed_list}
    except UsageError:
        raise
    except (ValueError, TypeError, OSError, RuntimeError) as error:
        raise OptionError(str(error)) from error


def make_policy(options: GradientOptions, mdp: MDP, seed: int) -> GaussianMLP:
    """The policy to measure: fresh weights from `seed`, or a run's.

    A deterministic policy is given noise of deviation `options.std`, before squashing: without any there is no
    likelihood ratio.
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
    policy = build_policy(mdp.observation_space, mdp.action_space, run, values)
    load_weights(policy, read_checkpoint(folder.checkpoint), "policy.", folder.checkpoint)
    if isinstance(policy, DeterministicMLP):
        return with_noise(policy, mdp, pick(values, DeterministicMLP), options.std)
    assert isinstance(policy, GaussianMLP)
    return policy


def with_noise(policy: DeterministicMLP, mdp: MDP, kwargs: dict[str, Any], std: float) -> GaussianMLP:
    """The Gaussian policy with a deterministic one's network as its mean, and a fixed deviation."""
    noisy = GaussianMLP(mdp.observation_space, mdp.action_space, **kwargs, std="fixed", initial_std=std)
    noisy.load_state_dict({**policy.state_dict(), "log_std": noisy.log_std})
    return noisy


def _numbers(option: str, text: str) -> list[int]:
    try:
        return [int(word) for word in text.split(",")]
    except ValueError:
        raise OptionError(f"{option} must be whole numbers with commas between, got {text!r}") from None
