"""MuJoCo physics that torch can differentiate, and Gymnasium's MuJoCo tasks on it."""

import gc

# Reading the kernels makes many objects that stay. To look for garbage among them takes a fifth of the import.
_collecting = gc.isenabled()
gc.disable()

from diffsim.finite_difference import FiniteDifferenceMDP
from diffsim.gym import register
from diffsim.launch import ContactOverflowError
from diffsim.mdp import MDP, Scenarios
from diffsim.model import Model
from diffsim.noisy_reward import NoisyReward
from diffsim.sharded import shard
from diffsim.simulator import Evaluation, Simulator
from diffsim.tasks import make
from diffsim.types import dtype
from diffsim.unsupported import UnsupportedModelError

__all__ = [
    "MDP",
    "ContactOverflowError",
    "Evaluation",
    "FiniteDifferenceMDP",
    "Model",
    "NoisyReward",
    "Scenarios",
    "Simulator",
    "UnsupportedModelError",
    "dtype",
    "make",
    "shard",
]

register()
if _collecting:
    gc.enable()
