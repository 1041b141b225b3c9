"""Algorithms that train policies, and tools that run, evaluate and compare them."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from diffsim.trainers.algorithm import Algorithm, MDPAlgorithm
    from diffsim.trainers.likelihood_ratio.a2c import A2C
    from diffsim.trainers.likelihood_ratio.a3c import A3C
    from diffsim.trainers.likelihood_ratio.actor_critic import ActorCritic
    from diffsim.trainers.likelihood_ratio.natural_gradient import NaturalGradient
    from diffsim.trainers.likelihood_ratio.ppo import PPO
    from diffsim.trainers.likelihood_ratio.reinforce import Reinforce
    from diffsim.trainers.likelihood_ratio.trpo import TRPO
    from diffsim.trainers.model_based.mbpo import MBPO
    from diffsim.trainers.model_based.model_based import ModelBased
    from diffsim.trainers.model_based.pets import PETS
    from diffsim.trainers.model_free import ModelFree
    from diffsim.trainers.options import buffer, given, option
    from diffsim.trainers.pathwise.bptt import BPTT
    from diffsim.trainers.pathwise.pegasus import Pegasus
    from diffsim.trainers.pathwise.shac import SHAC
    from diffsim.trainers.run.api import evaluate, fit, load_policy
    from diffsim.trainers.run.evaluation import Episodes
    from diffsim.trainers.run.lightning_training import LightningTraining
    from diffsim.trainers.value_gradient.ddpg import DDPG
    from diffsim.trainers.value_gradient.dpg import DPG
    from diffsim.trainers.value_gradient.dqn import DQN
    from diffsim.trainers.value_gradient.sac import SAC
    from diffsim.trainers.value_gradient.svg0 import SVG0
    from diffsim.trainers.value_gradient.td3 import TD3

__all__ = [
    "A2C",
    "A3C",
    "BPTT",
    "DDPG",
    "DPG",
    "DQN",
    "MBPO",
    "PETS",
    "PPO",
    "SAC",
    "SHAC",
    "SVG0",
    "TD3",
    "TRPO",
    "ActorCritic",
    "Algorithm",
    "Episodes",
    "LightningTraining",
    "MDPAlgorithm",
    "ModelBased",
    "ModelFree",
    "NaturalGradient",
    "Pegasus",
    "Reinforce",
    "buffer",
    "evaluate",
    "fit",
    "given",
    "load_policy",
    "option",
]

_MODULES = {
    "Algorithm": "algorithm",
    "Episodes": "run.evaluation",
    "LightningTraining": "run.lightning_training",
    "MDPAlgorithm": "algorithm",
    "ModelFree": "model_free",
    "buffer": "options",
    "evaluate": "run.api",
    "fit": "run.api",
    "given": "options",
    "load_policy": "run.api",
    "option": "options",
}
"""Module of each name that is not one of our algorithms, imported when the name is first used."""


def __getattr__(name: str) -> Any:
    """Imports a public name on first use."""
    if name not in __all__:
        raise AttributeError(f"module 'diffsim.trainers' has no attribute {name!r}")
    if name in _MODULES:
        module = f"diffsim.trainers.{_MODULES[name]}"
    else:
        module = importlib.import_module("diffsim.trainers.run.registry").ALGORITHMS[name]
    value = globals()[name] = getattr(importlib.import_module(module), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
