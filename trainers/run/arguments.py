"""Options of `diffsim fit`, on the command line and in YAML files.

Options are the arguments of three constructors: `RunOptions`, the algorithm and the policy. Their names, types, ranges
and help are declared there.
"""

from __future__ import annotations

import argparse
import inspect
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import gymnasium
from jsonargparse import ArgumentParser, Namespace  # pyright: ignore[reportPrivateImportUsage]

import diffsim
from diffsim.policies.squash import has_choices
from diffsim.structured_actions import is_structured
from diffsim.trainers.errors import OptionError
from diffsim.trainers.experience.atari import is_atari
from diffsim.trainers.experience.env_faults import ANSWER_SECONDS
from diffsim.trainers.experience.goals import register_extras
from diffsim.trainers.experience.single_env import shows_images, single_env
from diffsim.trainers.maths.schedule import BUDGET
from diffsim.trainers.options import check_fields
from diffsim.trainers.run.extras import require_extra
from diffsim.trainers.run.parsing import GIVEN, add_options, make_parser, parse
from diffsim.trainers.run.registry import ALGORITHMS, POLICIES, choose, families, takes_env
from diffsim.trainers.run.run_folder import read_yaml

DEFAULT_ITERATIONS = 200

CONFIGS = Path(diffsim.__file__).parent / "configs"
"""Folder of the shipped configurations."""

SIMULATED = "diffsim/"
"""Prefix of the ids of vector environments that our simulator runs."""


@dataclass(frozen=True)
class RunOptions:
    """Options of every training run.

    Args:
        task: id of the environment; `diffsim tasks` lists them. my_module:MyTask-v0 is a `Task` of your own. An
            algorithm that needs no derivatives takes any Gymnasium id, or diffsim/ID for our simulator.
        task_kwargs: options of the environment, as in Gymnasium.
        training_kwargs: options of the environment in training only, such as a shaped reward. Evaluation uses task and
            task_kwargs alone.
        process_noise: standard deviation of random forces on the dofs (N, N m) in training; a number, or one per dof.
        reward_noise: standard deviation of noise on each step's reward in training.
        dynamics: "simulator", or "finite_differences" for C MuJoCo as a black box, in training.
        num_workers: processes that compute finite differences; 0 for the training process itself.
        algorithm: name of the algorithm, or my_module:MyAlgorithm; names and the algorithm's options are listed below.
        policy: name of the policy, or my_module:MyPolicy; names and the policy's options are listed below.
        goal_strategy: final, future, episode or random: relabel replayed experience with other goals (see
            `HindsightReplay`), for tasks with goals and algorithms with a replay buffer. None for no relabelling.
        relabel_fraction: part of the replayed experience that is relabelled, in [0, 1].
        num_envs: copies simulated in parallel, at least 1.
        env_timeout: seconds in which the copies of an environment in Python must answer each step or reset, above 0. If
            they do not, the run ends with an error, and its last checkpoint is kept.
        device: where to simulate and learn, such as cpu or cuda.
        threads: torch's threads on the CPU, at least 1. More threads help large networks and batches,
            and slow down small ones.
        seed: seed of initial weights, initial states and noises, at least 0.
        iterations: number of iterations of the algorithm, at least 1. If None, 200, or as many as env_steps or seconds
            allow.
        env_steps: training ends at this number over all copies, at least 1, rounded up to whole steps of all copies. An
            algorithm that needs whole iterations ends with the first one that reaches it. None for no such end.
        seconds: training ends with the first iteration that ends after this time, not counting evaluations, above 0;
            None for no such end.
        evaluate_every: iterations between official evaluations, each followed by a checkpoint, at least 1.
        evaluate_every_steps: evaluate before training, and after each iteration that reaches another multiple of this
            number of env steps, at least 1. None to use evaluate_every.
        evaluate_episodes: episodes of each evaluation during training, at least 1.
        evaluate_stochastic: evaluate sampled actions as well as mean actions.
        final_episodes: episodes of the final evaluation, with other seeds, at least 1.
        run: folder of the run; runs/TASK-ALGORITHM-seed-SEED if None. If it exists, a number is added.
        video: record an episode of the trained policy (needs the video extra).
        logger: where metrics go beside metrics.csv: tensorboard; wandb for Weights & Biases (needs the wandb extra),
            which WANDB_MODE=offline keeps in the folder; or csv for nowhere else.
    """

    task: str
    task_kwargs: dict[str, Any] = field(default_factory=dict)
    training_kwargs: dict[str, Any] = field(default_factory=dict)
    process_noise: float | list[float] = 0.0
    reward_noise: float = 0.0
    dynamics: Literal["simulator", "finite_differences"] = "simulator"
    num_workers: int = 1
    algorithm: str = "BPTT"
    policy: str = "DeterministicMLP"
    goal_strategy: Literal["final", "future", "episode", "random"] | None = None
    relabel_fraction: float = 0.8
    num_envs: int = 32
    env_timeout: float = ANSWER_SECONDS
    device: str = "cpu"
    threads: int = 1
    seed: int = 0
    iterations: int | None = None
    env_steps: int | None = None
    seconds: float | None = None
    evaluate_every: int = 20
    evaluate_every_steps: int | None = None
    evaluate_episodes: int = 3
    evaluate_stochastic: bool = False
    final_episodes: int = 10
    run: str | None = None
    video: bool = False
    logger: Literal["tensorboard", "wandb", "csv"] = "tensorboard"

    def __post_init__(self) -> None:
        if self.logger == "wandb":
            require_extra("logger wandb", "wandb", "wandb")
        counts = ("num_envs", "threads", "iterations", "env_steps", "evaluate_every", "evaluate_every_steps")
        counts += ("evaluate_episodes", "final_episodes")
        check_fields(self, {**dict.fromkeys(counts, ">= 1"), "seed": ">= 0", "seconds": "> 0", "env_timeout": "> 0"})
        choose("algorithm", self.algorithm, ALGORITHMS)
        choose("policy", self.policy, POLICIES)

    @property
    def max_iterations(self) -> int:
        """Iterations after which training ends, or -1 if env steps or seconds alone decide."""
        if self.iterations is not None:
            return self.iterations
        return DEFAULT_ITERATIONS if self.env_steps is None and self.seconds is None else -1

    @property
    def folder(self) -> Path:
        """The run's folder; a number is added if it exists."""
        name = f"{self.task}-{self.algorithm}-seed-{self.seed}"
        return Path(self.run or f"runs/{re.sub('[/:]', '-', name)}")


def parse_fit(argv: Sequence[str], resumed: bool = False) -> Namespace:
    """Reads the options of `diffsim fit`, all of them flat.

    The file of a resumed run has every option that existed when the run began. A newer option gets its constructor's
    default there, and not the algorithm's `run_defaults`.

    Raises: OptionError if one is misspelled or of the wrong type; SystemExit after --help.
    """
    argv = with_config_paths(argv)
    names = _chosen(argv)
    parser = make_parser("fit", "Train a policy. Options may also be in a YAML file; later ones win.", config=True)
    parser.add_argument("--resume", metavar="RUN", help="Continue the run in this folder.")
    parser.add_class_arguments(RunOptions)
    algorithm = choose("algorithm", names["algorithm"], ALGORITHMS)
    add_options(parser, algorithm)
    add_options(parser, choose("policy", names["policy"], POLICIES))
    known = vars(parser.get_defaults())
    suited = {} if resumed else {name: value for name, value in algorithm.run_defaults.items() if name in known}
    parser.set_defaults({**suited, "policy": names["policy"]})
    if not resumed:
        _suit_images(parser, argv, algorithm, known)
    for family, found in families().items():
        parser.add_argument_group(f"--algorithm, {family}", ", ".join(found))
    parser.add_argument_group("--policy", ", ".join(POLICIES))
    return parse(parser, argv)


def _suit_images(parser: ArgumentParser, argv: Sequence[str], algorithm: type, known: Mapping[str, Any]) -> None:
    """Sets the algorithm's `image_defaults` and `atari_defaults`, if the task in `argv` is such a one."""
    suited = {**getattr(algorithm, "image_defaults", {})}
    if not suited or any(word in argv for word in ("--help", "-h")):
        return
    given = parse(parser, argv)
    if not shows_images(given.task, given.task_kwargs or {}):
        return
    if is_atari(given.task):
        suited |= getattr(algorithm, "atari_defaults", {})
    parser.set_defaults({name: value for name, value in suited.items() if name in known})


def with_budget(values: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a run, with the value `budget` of its schedules replaced by the length of the run.

    A run has the iterations of `iterations`, or those that `env_steps` allows, if they are fewer.

    Raises: OptionError if the run has no such length.
    """
    lengths = {"decay_env_steps": values.get("env_steps"), "decay_iterations": iterations_of(values)}
    found = dict(values)
    for name, length in lengths.items():
        if found.get(name) != BUDGET:
            continue
        if length is None:
            raise OptionError(f"{name} {BUDGET} needs {name.removeprefix('decay_')}, got none")
        found[name] = length
    return found


def iterations_of(values: Mapping[str, Any]) -> int | None:
    """Iterations of a run of BPTT: the least of `iterations` and what `env_steps` allows; None without both."""
    limits = [values.get("iterations")]
    steps = (values.get("horizon") or 0) * (values.get("num_envs") or 0)
    if values.get("env_steps") is not None and steps > 0:  # other values are refused later, by name
        limits.append(-(-values["env_steps"] // steps))
    return min((limit for limit in limits if limit is not None), default=None)


def resolved(parsed: Namespace) -> dict[str, Any]:
    """Every option, without --config and --resume."""
    return {name: value for name, value in parsed.as_dict().items() if name not in ("config", "resume")}


def parameters_of(cls: type) -> dict[str, inspect.Parameter]:
    """Arguments of a constructor by name, including those that it passes on to its bases as **kwargs."""
    found = dict(inspect.signature(cls).parameters)
    for base in cls.__mro__[1:]:
        if not any(p.kind is p.VAR_KEYWORD for p in found.values()) or base is object:
            break
        found = {name: p for name, p in found.items() if p.kind is not p.VAR_KEYWORD}
        if "__init__" in vars(base):
            found = {**inspect.signature(base).parameters, **found}
        else:
            found["kwargs"] = inspect.Parameter("kwargs", inspect.Parameter.VAR_KEYWORD)
    return found


def pick(options: Mapping[str, Any], cls: type) -> dict[str, Any]:
    """Those of the options that the constructor of `cls` takes, without its objects."""
    given = set() if cls is RunOptions else GIVEN
    names = [name for name in parameters_of(cls) if name not in given]
    return {name: options[name] for name in names if name in options}


def default_policy(algorithm: str, task: str | None) -> str:
    """The policy if none is named: the algorithm's default, or a stochastic one for the task's kind of actions."""
    cls = choose("algorithm", algorithm, ALGORITHMS)
    if task is None or not takes_env(cls) or "policy" in cls.run_defaults:
        return cls.run_defaults.get("policy", RunOptions.policy)
    try:
        register_extras(official_id(task))
        env = single_env(official_id(task), disable_env_checker=True)
    except gymnasium.error.Error:
        return RunOptions.policy  # building the task reports the error
    space = env.action_space
    env.close()
    if is_structured(space):
        return "HybridMLP"
    return "CategoricalMLP" if has_choices(space) else "GaussianMLP"


def official_id(task: str) -> str:
    """The id of the environment in which a task is evaluated: that on C MuJoCo."""
    return task.removeprefix(SIMULATED)


def _chosen(argv: Sequence[str]) -> dict[str, str]:
    """Names of algorithm and policy in `argv` and its YAML files: they decide which options exist."""
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument("--config", action="append", default=[])
    names = {"algorithm": RunOptions.algorithm}
    for name in ("algorithm", "policy", "task"):
        first.add_argument(f"--{name}")
    try:
        found, _ = first.parse_known_args(list(argv))
    except SystemExit:
        raise OptionError("--config, --algorithm, --policy and --task each take a value") from None
    for path in found.config:
        content = read_yaml(Path(path))
        names.update({name: str(content[name]) for name in ("algorithm", "policy", "task") if name in content})
    names.update({name: word for name, word in vars(found).items() if name != "config" and word is not None})
    return {"policy": default_policy(names["algorithm"], names.get("task")), **names}


def with_config_paths(argv: Sequence[str]) -> list[str]:
    """`argv` with every name of a shipped configuration after --config replaced by its path."""
    words = list(argv)
    for i, word in enumerate(words):
        if word == "--config" and i + 1 < len(words):
            words[i + 1] = str(config_path(words[i + 1]))
        elif word.startswith("--config="):
            words[i] = f"--config={config_path(word.partition('=')[2])}"
    return words


def config_path(name: str) -> Path:
    """The file `name`, or the shipped configuration of that name, with or without .yaml."""
    shipped = CONFIGS / (name if name.endswith(".yaml") else f"{name}.yaml")
    return shipped if not Path(name).is_file() and shipped.is_file() else Path(name)
