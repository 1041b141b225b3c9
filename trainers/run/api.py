"""Training, evaluating and using a policy from Python, without the command line."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from gymnasium.spaces import Dict, Tuple
from numpy.typing import ArrayLike
from rich.console import Console

from diffsim.checks import check_values
from diffsim.policies import Policy, as_tensor
from diffsim.structured_actions import taken
from diffsim.trainers.algorithm import Algorithm
from diffsim.trainers.errors import OptionError
from diffsim.trainers.experience.env_faults import ANSWER_SECONDS, answer_within
from diffsim.trainers.experience.goals import register_extras
from diffsim.trainers.experience.single_env import single_env
from diffsim.trainers.run.arguments import RunOptions, pick
from diffsim.trainers.run.build import build, build_policy, official_evaluation
from diffsim.trainers.run.checkpoint import load_weights, read_checkpoint
from diffsim.trainers.run.evaluation import Episodes, OfficialEvaluation
from diffsim.trainers.run.machine import describe_machine
from diffsim.trainers.run.registry import ALGORITHMS, choose, takes_policy
from diffsim.trainers.run.run_folder import RunFolder, existing_folder
from diffsim.trainers.run.train import Budget, train
from diffsim.trainers.run.unchanged import refuse_changes


def fit(
    algorithm: Algorithm,
    *,
    folder: str | Path,
    iterations: int | None = None,
    env_steps: int | None = None,
    seconds: float | None = None,
    evaluate_every: int = 20,
    resume: bool = False,
    progress: bool = True,
    env_timeout: float = ANSWER_SECONDS,
) -> RunFolder:
    """Trains an algorithm, and keeps metrics, checkpoints and a learning curve in a run folder.

        policy = DeterministicMLP(mdp.observation_space, mdp.action_space)
        fit(SHAC(mdp, policy, horizon=32), env_steps=100_000, folder="runs/mine")

    Args:
        algorithm: what to train; its policy is trained in place.
        folder: run folder; must not exist, unless `resume` is true.
        iterations: training ends after this number of iterations, at least 1.
        env_steps: training ends at this number of env steps, at least 1, rounded up to whole steps of all copies; or
            with the first iteration that reaches it, if `algorithm.ends_at_limit` is false.
        seconds: training ends with the first iteration that ends after this time, above 0.
        evaluate_every: iterations between evaluations (`algorithm.evaluation`) and checkpoints, at least 1.
        resume: continue from the folder's checkpoint, with an algorithm that was made with the same arguments. The
            result is the same as without the interruption, bit for bit.
        progress: draw a progress bar.
        env_timeout: seconds in which the copies of a SyncVectorEnv or AsyncVectorEnv must answer each step or reset,
            above 0. It interrupts Python code and waiting for processes, but no computation in C.

    Returns: the run folder; `read_metrics()` gives its rows.
    Raises: ValueError if no budget is given, one is out of range, or the folder exists and `resume` is false;
        OptionError if the algorithm of a run that is resumed has other options than when it began;
        CheckpointError if the checkpoint cannot be used; NonFiniteError from training; WorkerError if a copy of the
        environment raises an error, dies or hangs. The last checkpoint is then kept.
    """
    check_values(">= 1", iterations=iterations, env_steps=env_steps, evaluate_every=evaluate_every)
    check_values("> 0", seconds=seconds, env_timeout=env_timeout)
    if iterations is None and env_steps is None and seconds is None:
        raise ValueError("one of iterations, env_steps and seconds must be given, got none")
    run = RunFolder(Path(folder))
    if resume:
        refuse_changes(described_options(algorithm), read_checkpoint(run.checkpoint))
    elif run.path.exists():
        raise ValueError(f"folder must not exist, or resume must be true, got {str(run.path)!r}")
    algorithm.check()
    console = Console(quiet=not progress)
    for line in algorithm.announce(run.path):
        console.print(line, soft_wrap=True, highlight=False)
    run.path.mkdir(parents=True, exist_ok=True)
    if not resume:
        run.config.write_text(yaml.safe_dump(described_options(algorithm), sort_keys=False))
    run.add_machine(describe_machine())
    budget = Budget(-1 if iterations is None else iterations, env_steps, seconds, evaluate_every)
    with answer_within(env_timeout):
        train(algorithm, budget, run, console, run.checkpoint if resume else None)
    run.draw_curve(type(algorithm).__name__)
    return run


def evaluate(
    policy: Policy,
    task: str,
    *,
    episodes: int = 10,
    seed: int = 1_000_000,
    sampled: bool = False,
    task_kwargs: Mapping[str, Any] | None = None,
) -> Episodes:
    """Runs whole episodes of a task in its environment on C MuJoCo. Prints nothing.

    Args:
        policy: the policy to evaluate.
        task: Gymnasium id, or `my_module:MyTask-v0`.
        episodes: number of episodes, at least 1.
        seed: episode i is reset with seed `seed + i`.
        sampled: take sampled actions instead of mean actions.
        task_kwargs: options of the environment.

    Returns: return, length and success of each episode.
    Raises: ValueError if `episodes` is out of range; gymnasium.error.Error if there is no such task.
    """
    return OfficialEvaluation(task, dict(task_kwargs or {}), episodes, seed).run(policy, sampled=sampled)


class NumpyPolicy:
    """A trained policy that maps numpy observations to numpy actions, and keeps the memory of a recurrent policy."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy.eval().requires_grad_(False)
        self.memory: torch.Tensor | None = None

    def __call__(self, obs: Any) -> Any:
        """The mean (or likeliest) action for `obs`, one observation of the environment or N of them.

        Returns: an action as `env.step` takes it, of the shape and type of the action space; N of them for N `obs`.
        Raises: ValueError if a recurrent policy gets another number of observations than since the last `reset`.
        """
        rows = as_tensor(self.policy, self.seen(obs))
        if not self.policy.recurrent:
            return self.taken(self.policy(rows))
        single = rows.ndim == len(self.policy.obs_shape)
        rows = rows[None] if single else rows
        memory = self.policy.initial_memory(len(rows)) if self.memory is None else self.memory
        if len(memory) != len(rows):
            raise ValueError(f"obs must have {len(memory)} rows until reset() is called, got {len(rows)}")
        action, self.memory = self.policy.step(rows, memory)
        return self.taken(action[0] if single else action)

    def seen(self, obs: Any) -> np.ndarray:
        """Observations of the policy's space as vectors or images; vectors of a Dict or Tuple may be given as such."""
        structured = isinstance(self.policy.observations.given, Dict | Tuple)
        flat = structured and not isinstance(obs, Mapping | tuple)
        return np.asarray(obs) if flat else self.policy.observations.flat(obs)

    def taken(self, action: torch.Tensor) -> Any:
        """Actions of the policy as `env.step` takes them."""
        return taken(self.policy.action_space, self.policy.decode(action).cpu().numpy())

    def reset(self, ended: ArrayLike | None = None) -> None:
        """Starts new episodes: clears the policy's memory, if it has one.

        Args:
            ended: bool [N], the rows of `obs` whose episodes have ended; all rows if None.
        """
        mask = None if ended is None else torch.as_tensor(np.asarray(ended))
        self.policy.reset(mask)
        if mask is None or self.memory is None:
            self.memory = None
        else:
            self.memory = torch.where(mask.to(self.memory.device)[:, None], 0.0, self.memory)


def load_policy(run: str | Path, policy: Policy | None = None) -> NumpyPolicy:
    """The trained policy of a run folder.

        policy = load_policy("runs/Hopper-v5-SHAC-seed-0")
        obs, _ = env.reset()
        obs, *_ = env.step(policy(obs))

    Args:
        run: folder of `diffsim fit`, or of `fit`.
        policy: for a folder of `fit`, a policy of the same class and sizes. It is copied, and stays as it is.

    Raises: OptionError if there is no such run; CheckpointError if its checkpoint cannot be used.
    """
    folder = existing_folder("run", str(run))
    checkpoint = read_checkpoint(folder.checkpoint)
    policy = untrained_policy(folder) if policy is None else copy.deepcopy(policy)
    load_weights(policy, checkpoint, "policy.", folder.checkpoint)
    return NumpyPolicy(policy)


def untrained_policy(folder: RunFolder) -> Policy:
    """A policy of the class and sizes that a run of `diffsim fit` trains.

    Raises: OptionError if the run was made from Python: its folder does not say how to make the policy.
    """
    values = folder.read_config()
    if "task" not in values:
        raise OptionError(f"policy must be given for a run made from Python, got none for {str(folder.path)!r}")
    options = RunOptions(**pick(values, RunOptions))
    if not takes_policy(choose("algorithm", options.algorithm, ALGORITHMS)):
        return build(replace(options, device="cpu"), values).policy
    task = official_evaluation(options, 1).task
    register_extras(task)
    env = single_env(task, **options.task_kwargs)
    policy = build_policy(env.observation_space, env.action_space, options, values)
    env.close()
    return policy


def described_options(algorithm: Algorithm) -> dict[str, Any]:
    """Class and plain options of an algorithm, for a run folder's config.yaml."""
    cls = type(algorithm)
    values = {name: getattr(algorithm, name, None) for name, option in cls.options.items() if not option.given}
    plain = {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
    kinds = (bool, int, float, str, list, dict, type(None))
    return {
        "algorithm": f"{cls.__module__}:{cls.__qualname__}",
        **{name: value for name, value in plain.items() if isinstance(value, kinds)},
    }
