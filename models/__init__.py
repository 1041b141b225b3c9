"""Learned models of dynamics, reward and termination, the data they are fitted to, and the MDP they form."""

from diffsim.models.data import Data, from_windows
from diffsim.models.ensemble import GaussianEnsemble
from diffsim.models.fitting import ModelFit
from diffsim.models.known import REWARDS, TERMINATIONS
from diffsim.models.learned_mdp import LearnedMDP
from diffsim.models.recurrent import EnsembleGRU
from diffsim.models.statistics import Moments, Statistics
from diffsim.models.storage import DataError, StoredData, load_data, save_data
from diffsim.models.world_model import WorldModel

__all__ = [
    "REWARDS",
    "TERMINATIONS",
    "Data",
    "DataError",
    "EnsembleGRU",
    "GaussianEnsemble",
    "LearnedMDP",
    "ModelFit",
    "Moments",
    "Statistics",
    "StoredData",
    "WorldModel",
    "from_windows",
    "load_data",
    "save_data",
]
