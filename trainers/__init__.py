"""Algorithms that train policies, and tools that run, evaluate and compare them."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from diffsim.trainers.algorithm import Algorithm as Algorithm
    from diffsim.trainers.algorithm import MDPAlgorithm as MDPAlgorithm
    from diffsim.trainers.black_box.cem import CEM as CEM
    from diffsim.trainers.black_box.cma_es import CMAES as CMAES
    from diffsim.trainers.black_box.evolution_strategies import EvolutionStrategies as EvolutionStrategies
    from diffsim.trainers.black_box.finite_differences import FiniteDifferences as FiniteDifferences
    from diffsim.trainers.black_box.mu_lambda_es import MuLambdaES as MuLambdaES
    from diffsim.trainers.black_box.pi2 import PI2 as PI2
    from diffsim.trainers.black_box.power import PoWER as PoWER
    from diffsim.trainers.black_box.reps import REPS as REPS
    from diffsim.trainers.black_box.rwr import RWR as RWR
    from diffsim.trainers.black_box.step_reps import StepREPS as StepREPS
    from diffsim.trainers.black_box.step_rwr import StepRWR as StepRWR
    from diffsim.trainers.likelihood_ratio.a2c import A2C as A2C
    from diffsim.trainers.likelihood_ratio.a3c import A3C as A3C
    from diffsim.trainers.likelihood_ratio.actor_critic import ActorCritic as ActorCritic
    from diffsim.trainers.likelihood_ratio.natural_gradient import NaturalGradient as NaturalGradient
    from diffsim.trainers.likelihood_ratio.ppo import PPO as PPO
    from diffsim.trainers.likelihood_ratio.reinforce import Reinforce as Reinforce
    from diffsim.trainers.likelihood_ratio.trpo import TRPO as TRPO
    from diffsim.trainers.model_based.mbpo import MBPO as MBPO
    from diffsim.trainers.model_based.model_based import ModelBased as ModelBased
    from diffsim.trainers.model_based.pets import PETS as PETS
    from diffsim.trainers.model_free import ModelFree as ModelFree
    from diffsim.trainers.options import buffer as buffer
    from diffsim.trainers.options import given as given
    from diffsim.trainers.options import option as option
    from diffsim.trainers.pathwise.bptt import BPTT as BPTT
    from diffsim.trainers.pathwise.pegasus import Pegasus as Pegasus
    from diffsim.trainers.pathwise.scg import SCG as SCG
    from diffsim.trainers.pathwise.shac import SHAC as SHAC
    from diffsim.trainers.run.api import evaluate as evaluate
    from diffsim.trainers.run.api import fit as fit
    from diffsim.trainers.run.api import load_policy as load_policy
    from diffsim.trainers.run.evaluation import Episodes as Episodes
    from diffsim.trainers.run.lightning_training import LightningTraining as LightningTraining
    from diffsim.trainers.value_gradient.crossq import CrossQ as CrossQ
    from diffsim.trainers.value_gradient.ddpg import DDPG as DDPG
    from diffsim.trainers.value_gradient.dpg import DPG as DPG
    from diffsim.trainers.value_gradient.dqn import DQN as DQN
    from diffsim.trainers.value_gradient.sac import SAC as SAC
    from diffsim.trainers.value_gradient.svg0 import SVG0 as SVG0
    from diffsim.trainers.value_gradient.td3 import TD3 as TD3

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
    if (module := _modules().get(name)) is None:
        raise AttributeError(f"module 'diffsim.trainers' has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(module), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_modules()})


def _modules() -> dict[str, str]:
    """Module of each public name."""
    algorithms = importlib.import_module("diffsim.trainers.run.registry").ALGORITHMS
    return {**algorithms, **{name: f"diffsim.trainers.{module}" for name, module in _MODULES.items()}}
