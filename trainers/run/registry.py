"""Algorithms and policies by name: ours, those of installed packages, and those of your own modules."""

from __future__ import annotations

import importlib
import inspect
from importlib.metadata import entry_points

from diffsim.checks import did_you_mean
from diffsim.trainers.errors import OptionError

ALGORITHMS = {
    "BPTT": "diffsim.trainers.pathwise.bptt",
    "Pegasus": "diffsim.trainers.pathwise.pegasus",
    "SHAC": "diffsim.trainers.pathwise.shac",
    "SCG": "diffsim.trainers.pathwise.scg",
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
    "CrossQ": "diffsim.trainers.value_gradient.crossq",
    "DQN": "diffsim.trainers.value_gradient.dqn",
    "ModelBased": "diffsim.trainers.model_based.model_based",
    "MBPO": "diffsim.trainers.model_based.mbpo",
    "PETS": "diffsim.trainers.model_based.pets",
    "CEM": "diffsim.trainers.black_box.cem",
    "CMAES": "diffsim.trainers.black_box.cma_es",
    "RWR": "diffsim.trainers.black_box.rwr",
    "StepRWR": "diffsim.trainers.black_box.step_rwr",
    "PoWER": "diffsim.trainers.black_box.power",
    "PI2": "diffsim.trainers.black_box.pi2",
    "REPS": "diffsim.trainers.black_box.reps",
    "StepREPS": "diffsim.trainers.black_box.step_reps",
    "EvolutionStrategies": "diffsim.trainers.black_box.evolution_strategies",
    "MuLambdaES": "diffsim.trainers.black_box.mu_lambda_es",
    "FiniteDifferences": "diffsim.trainers.black_box.finite_differences",
}
"""Module of each of our algorithms, imported only when it is used."""

POLICIES: dict[str, str] = dict.fromkeys(
    (
        *("DeterministicMLP", "GaussianMLP", "FullGaussianMLP", "GRUPolicy", "LSTMPolicy"),
        *("CategoricalMLP", "RelaxedCategoricalMLP", "BernoulliMLP", "DiscreteQMLP", "HybridMLP"),
        *("LinearPolicy", "RBFPolicy", "LinearChoice", "HelicopterPolicy"),
    ),
    "diffsim.policies",
)
"""Module of each of our policies."""

FAMILIES = {
    "pathwise": "gradients through the dynamics",
    "likelihood_ratio": "likelihood-ratio gradients",
    "value_gradient": "gradients through a learned value",
    "model_based": "learned models of the dynamics",
    "black_box": "search without gradients",
}
"""What the algorithms in each folder of `trainers` have in common."""

ENTRY_POINTS = {"algorithm": "diffsim.algorithms", "policy": "diffsim.policies", "model": "diffsim.models"}
"""Groups of entry points by which installed packages add names."""


def families() -> dict[str, list[str]]:
    """Names of our algorithms, by what they have in common. Imports none of them."""
    return {
        words: [name for name, module in ALGORITHMS.items() if module.split(".")[2] == folder]
        for folder, words in FAMILIES.items()
    }


def choose(option: str, name: str, modules: dict[str, str]) -> type:
    """The class called `name`.

    Args:
        option: what is chosen: "algorithm", "policy" or "model"; named in errors.
        name: one of ours, an entry point of an installed package, or `module:Class`, imported from the current folder
            or from what is installed.
        modules: module of each of ours.

    Raises: OptionError that says what would be valid.
    """
    if name in modules:
        return getattr(importlib.import_module(modules[name]), name)
    if ":" in name:
        return import_class(option, name)
    installed = {entry.name: entry for entry in entry_points(group=ENTRY_POINTS.get(option, ""))}
    if name in installed:
        return import_class(option, installed[name].value)
    valid = [*modules, *installed]
    raise OptionError(
        f"{option} must be one of {', '.join(valid)}, or my_module:MyClass, got {name!r}{did_you_mean(name, valid)}"
    )


def import_class(option: str, path: str) -> type:
    """The class at `module:Class`.

    Raises: OptionError if there is no such module, or no such class in it.
    """
    module_name, _, name = path.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not (module_name == error.name or module_name.startswith(error.name + ".")):
            raise  # the module exists, but imports one that does not exist
        raise OptionError(
            f"{option} must be in a module of the current folder or of an installed package, got {path!r}: {error}"
        ) from None
    except ValueError:
        raise OptionError(f"{option} must be a name or my_module:MyClass, got {path!r}") from None
    found = getattr(module, name, None)
    if not inspect.isclass(found):
        valid = [key for key, value in vars(module).items() if inspect.isclass(value)]
        raise OptionError(f"{option} must be a class in {module_name}, got {path!r}{did_you_mean(name, valid)}")
    return found


def takes_env(algorithm: type) -> bool:
    """Whether an algorithm's constructor takes a vector environment, `env`, instead of an `mdp`."""
    return "env" in inspect.signature(algorithm).parameters


def takes_policy(algorithm: type) -> bool:
    """Whether an algorithm's constructor takes a policy, instead of making its own."""
    return "policy" in inspect.signature(algorithm).parameters
