"""What can be said to `diffsim fit`, on the command line and in a YAML file.

Options are the arguments of three constructors: `RunOptions`, the algorithm and the policy. Their names,
types and help are read from there; values out of range are refused there.
"""

from __future__ import annotations

import argparse
import difflib
import importlib
import inspect
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import gymnasium
import yaml
from gymnasium.spaces import Box
from jsonargparse import ActionConfigFile, ArgumentParser, Namespace  # pyright: ignore[reportPrivateImportUsage]

from diffsim.trainers.errors import OptionError
from diffsim.trainers.experience.goals import make_official

ALGORITHMS = {
    "BPTT": "diffsim.trainers.pathwise.bptt",
    "Pegasus": "diffsim.trainers.pathwise.pegasus",
    "SHAC": "diffsim.trainers.pathwise.shac",
    "Reinforce": "diffsim.trainers.likelihood_ratio.reinforce",
    "ActorCritic": "diffsim.trainers.likelihood_ratio.actor_critic",
    "A2C": "diffsim.trainers.likelihood_ratio.a2c",
    "A3C": "diffsim.trainers.likelihood_ratio.a3c",
    "PPO": "diffsim.trainers.likelihood_ratio.ppo",
    "NaturalGradient": "diffsim.trainers.likelihood_ratio.natural_gradient",
    "TRPO": "diffsim.trainers.likelihood_ratio.trpo",
    "DPG": "diffsim.trainers.value_gradient.dpg",
    "DDPG": "diffsim.trainers.value_gradient.ddpg",
    "SVG0": "diffsim.trainers.value_gradient.svg0",
    "TD3": "diffsim.trainers.value_gradient.td3",
    "SAC": "diffsim.trainers.value_gradient.sac",
    "DQN": "diffsim.trainers.value_gradient.dqn",
    "ModelBased": "diffsim.trainers.model_based.model_based",
    "MBPO": "diffsim.trainers.model_based.mbpo",
    "PETS": "diffsim.trainers.model_based.pets",
}
"""Module of each algorithm, imported only when it is asked for."""

POLICIES: dict[str, str] = dict.fromkeys(
    (
        *("DeterministicMLP", "GaussianMLP", "FullGaussianMLP"),
        *("CategoricalMLP", "RelaxedCategoricalMLP", "BernoulliMLP", "DiscreteQMLP"),
    ),
    "policies",
)
"""Module of each policy."""

DEFAULT_ITERATIONS = 200

SIMULATED = "diffsim/"
"""How ids begin of vector environments that our simulator runs."""

GIVEN: set[str | int] = {
    *("mdp", "env", "policy", "seed", "evaluation", "observation_space", "action_space", "critic", "replay")
}
"""Constructor arguments that are no options: they are made from others."""


@dataclass(frozen=True)
class RunOptions:
    """One training run.

    Args:
        task: id of the environment to learn; `diffsim tasks` lists them. An algorithm that needs no derivative takes
            any id of Gymnasium, run there, or diffsim/<id>, run in our simulator.
        task_kwargs: options of the environment, those of Gymnasium.
        training_kwargs: options of the environment that hold in training only, such as a shaped reward; evaluation is
            by task and task_kwargs alone.
        process_noise: standard deviation of random forces on the dofs (N, N m) in training; a number, or one per dof.
        reward_noise: standard deviation of noise on each step's reward in training.
        dynamics: "simulator", or "finite_differences" for C MuJoCo as a black box, in training.
        num_workers: processes that compute finite differences; with 0, the one that learns.
        algorithm: name of the algorithm; its options stand beside these.
        policy: name of the policy; its options stand beside these.
        goal_strategy: final, future, episode or random: put other goals into a part of the experience that is learned
            from (see `HindsightReplay`); for tasks with goals and algorithms that keep experience. None for none.
        relabel_fraction: that part, in [0, 1].
        num_envs: copies simulated in parallel, at least 1.
        device: where to simulate and learn, such as cpu or cuda.
        threads: of torch on the CPU, at least 1. More help large networks and batches, and hinder small ones.
        seed: of initial weights, initial states and noises, at least 0.
        iterations: number of iterations of the algorithm, at least 1. If None, 200, or as many as env_steps or seconds
            need.
        env_steps: training ends with the first iteration that has taken so many, of all copies together, at least 1;
            None for no such end.
        seconds: training ends with the first iteration that ends after so many, evaluations not counted, above 0; None
            for no such end.
        evaluate_every: iterations between official evaluations, each followed by a checkpoint, at least 1.
        evaluate_every_steps: env steps between them, at least 1, in place of iterations: the first iteration to reach a
            multiple of it is followed by one, and one comes before training. None for `evaluate_every`.
        evaluate_episodes: episodes of each evaluation during training, at least 1.
        evaluate_stochastic: evaluate sampled actions too, beside the mean ones.
        final_episodes: episodes, others than those, by which the trained policy is judged in the end, at least 1.
        run: folder of the run; runs/TASK-ALGORITHM-seed-SEED if None. If it exists, a number is added.
        video: record an episode of the trained policy (needs the video extra).
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

    def __post_init__(self) -> None:
        at_least_one = ("num_envs", "threads", "iterations", "env_steps", "evaluate_every", "evaluate_every_steps")
        at_least_one += ("evaluate_episodes", "final_episodes")
        for name, least in {**dict.fromkeys(at_least_one, 1), "seed": 0}.items():
            if getattr(self, name) is not None and getattr(self, name) < least:
                raise OptionError(f"{name} must be >= {least}, got {getattr(self, name)}")
        if self.seconds is not None and not self.seconds > 0:
            raise OptionError(f"seconds must be > 0, got {self.seconds}")
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
        """Where the run goes, if nothing is there yet."""
        return Path(self.run or f"runs/{self.task.replace('/', '-')}-{self.algorithm}-seed-{self.seed}")


def choose(option: str, name: str, modules: dict[str, str]) -> type:
    """The class called `name`, imported from its module.

    Raises: OptionError, with the valid names, if there is none.
    """
    if name not in modules:
        raise OptionError(f"{option} must be one of {', '.join(modules)}, got {name!r}")
    return getattr(importlib.import_module(modules[name]), name)


def parse_fit(argv: Sequence[str], resumed: bool = False) -> Namespace:
    """Reads the options of `diffsim fit`, all of them flat.

    A resumed run's file says every option; one that it does not know is newer, and was not there: its constructor's own
    default stands for that, not what suits the algorithm now.

    Raises: OptionError if one is misspelled or of the wrong type; SystemExit after --help.
    """
    names = _chosen(argv)
    parser = ArgumentParser(
        prog="diffsim fit",
        description="Train a policy. Options may also stand in a YAML file; later ones win.",
        exit_on_error=False,
        allow_abbrev=False,
    )
    parser.add_argument("--config", action=ActionConfigFile, help="YAML file of options.")
    parser.add_argument("--resume", metavar="RUN", help="Go on with the run in this folder.")
    parser.add_class_arguments(RunOptions)
    algorithm = choose("algorithm", names["algorithm"], ALGORITHMS)
    parser.add_class_arguments(algorithm, skip=GIVEN)
    parser.add_class_arguments(choose("policy", names["policy"], POLICIES), skip=GIVEN)
    known = vars(parser.get_defaults())
    suited = {} if resumed else {name: value for name, value in algorithm.run_defaults.items() if name in known}
    parser.set_defaults({**suited, "policy": names["policy"]})
    return parse(parser, argv)


def parse(parser: ArgumentParser, argv: Sequence[str]) -> Namespace:
    """Parses `argv`; what is wrong with it becomes an OptionError that says what would have been right."""
    try:
        return parser.parse_args(list(argv))
    except argparse.ArgumentError as error:
        raise OptionError(_explain(str(error), parser)) from None


def pick(options: Mapping[str, Any], cls: type) -> dict[str, Any]:
    """Those of the options that `cls`'s constructor takes, without those that are made from others."""
    given = set() if cls is RunOptions else GIVEN
    names = [name for name in inspect.signature(cls).parameters if name not in given]
    return {name: options[name] for name in names if name in options}


def takes_env(algorithm: type) -> bool:
    """Whether an algorithm learns from a vector environment, `env`, and not through an `mdp`: its constructor says."""
    return "env" in inspect.signature(algorithm).parameters


def takes_policy(algorithm: type) -> bool:
    """Whether an algorithm trains a policy that the options describe, and not one of its own making."""
    return "policy" in inspect.signature(algorithm).parameters


def default_policy(algorithm: str, task: str | None) -> str:
    """The policy to train if none is named: the algorithm's own, or a stochastic one for the task's kind of actions."""
    cls = choose("algorithm", algorithm, ALGORITHMS)
    if task is None or not takes_env(cls) or "policy" in cls.run_defaults:
        return cls.run_defaults.get("policy", RunOptions.policy)
    try:
        env = make_official(official_id(task))
    except gymnasium.error.Error:
        return RunOptions.policy  # that there is no such task will be said where it is made
    continuous = isinstance(env.action_space, Box)
    env.close()
    return "GaussianMLP" if continuous else "CategoricalMLP"


def official_id(task: str) -> str:
    """The Gymnasium id of the task, whoever runs it: that in which it is evaluated."""
    return task.removeprefix(SIMULATED)


def _chosen(argv: Sequence[str]) -> dict[str, str]:
    """Algorithm and policy that `argv` and its YAML files ask for: they decide which options there are."""
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


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML file of options.

    Raises: OptionError if it cannot be read, or is not a mapping.
    """
    try:
        content = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise OptionError(f"config must be a readable YAML file, got {str(path)!r}: {error}") from None
    if not isinstance(content, dict):
        raise OptionError(f"config must hold one option per line, `name: value`, got {str(path)!r}")
    return content


def _explain(message: str, parser: ArgumentParser) -> str:
    """Says in the house's words what a parser found wrong: option, rule, value, and what would be valid."""
    message = " ".join(message.split())
    if match := re.match(r"unrecognized arguments: (\S+)|Option '(.+?)' is not accepted", message):
        wrong = match[1].split("=")[0] if match[1] else f"--{match[2]}"
        valid = [f"--{name}" for name in vars(parser.get_defaults())]
        close = difflib.get_close_matches(wrong, valid, n=1)
        meant = f"; did you mean {close[0]}?" if close else "."
        return f"unknown option {wrong}{meant} Valid options: {', '.join(valid)}"
    if match := re.match(r"the following arguments are required: (.+)", message):
        return f"option --{match[1]} is required"
    if match := re.match(r"argument (--\w+): expected one argument", message):
        return f"option {match[1]} must be followed by a value, got none"
    if match := re.match(r'Parser key "(.+?)":.*Literal\[(.+?)\].*[vV]alue: (.*)', message):
        return f"option --{match[1]} must be one of {match[2].replace(chr(39), '')}, got {match[3]!r}"
    if match := re.match(r'Parser key "(.+?)": (.*)[vV]alue: (.*)', message):
        types = dict.fromkeys(re.findall(r"<class '(\w+)'>", match[2]))
        names = " or ".join(types).replace("NoneType", "null").replace(" or str", "")
        return f"option --{match[1]} must be of type {names}, got {match[3]!r}"
    return message
