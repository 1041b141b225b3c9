"""MuJoCo physics that torch can differentiate, and Gymnasium's MuJoCo tasks on it."""

from diffsim.finite_difference import FiniteDifferenceMDP
from diffsim.gym import register
from diffsim.launch import ContactOverflowError
from diffsim.mdp import MDP, Scenarios
from diffsim.model import Model
from diffsim.noisy_reward import NoisyReward
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
]

register()
