"""Differentiable MuJoCo physics for torch, and Gymnasium's MuJoCo tasks on it."""

from __future__ import annotations

import gc
import importlib
from typing import TYPE_CHECKING, Any

from diffsim.registration import register

if TYPE_CHECKING:
    from diffsim.compile.few_iterations import SolverIterationsWarning as SolverIterationsWarning
    from diffsim.compile.model import Model as Model
    from diffsim.compile.unsupported import UnsupportedModelError as UnsupportedModelError
    from diffsim.engine.checks import ContactOverflowError as ContactOverflowError
    from diffsim.engine.finite_difference import FiniteDifferenceMDP as FiniteDifferenceMDP
    from diffsim.engine.sharded import shard as shard
    from diffsim.engine.simulator import DynamicsPoint as DynamicsPoint
    from diffsim.engine.simulator import Simulator as Simulator
    from diffsim.mdp import MDP as MDP
    from diffsim.mdp import Scenarios as Scenarios
    from diffsim.tasks import check_task as check_task
    from diffsim.tasks import make as make
    from diffsim.types import dtype as dtype
    from diffsim.wrappers import DelayedActions as DelayedActions
    from diffsim.wrappers import NoisyObservation as NoisyObservation
    from diffsim.wrappers import NoisyReward as NoisyReward
    from diffsim.wrappers import PositionsOnly as PositionsOnly

_MODULES = {
    "ContactOverflowError": "diffsim.engine.checks",
    "DelayedActions": "diffsim.wrappers",
    "DynamicsPoint": "diffsim.engine.simulator",
    "FiniteDifferenceMDP": "diffsim.engine.finite_difference",
    "MDP": "diffsim.mdp",
    "Model": "diffsim.compile.model",
    "NoisyObservation": "diffsim.wrappers",
    "NoisyReward": "diffsim.wrappers",
    "PositionsOnly": "diffsim.wrappers",
    "Scenarios": "diffsim.mdp",
    "Simulator": "diffsim.engine.simulator",
    "SolverIterationsWarning": "diffsim.compile.few_iterations",
    "UnsupportedModelError": "diffsim.compile.unsupported",
    "check_task": "diffsim.tasks",
    "dtype": "diffsim.types",
    "load_policy": "diffsim.trainers.run.api",
    "make": "diffsim.tasks",
    "shard": "diffsim.engine.sharded",
}
"""Module of each public name, imported on first use, so that `diffsim --help` starts fast."""

_RENAMED = {"Evaluation": "DynamicsPoint"}


def __getattr__(name: str) -> Any:
    """Imports a public name on first use."""
    if name in _RENAMED:
        raise AttributeError(f"diffsim.{name} is now diffsim.{_RENAMED[name]}")
    if name not in _MODULES:
        raise AttributeError(f"module 'diffsim' has no attribute {name!r}")
    collecting = gc.isenabled()
    gc.disable()  # kernels make many lasting objects; garbage collection takes a fifth of the import's time
    try:
        value = getattr(importlib.import_module(_MODULES[name]), name)
    finally:
        if collecting:
            gc.enable()
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})


register()
